#include "data/corpus/parsers/pod.h"

#include <array>
#include <charconv>
#include <vector>

#include "base/utf8.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

std::string entity_text(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNames = {
      {{"lt", "<"}, {"gt", ">"}, {"verbar", "|"}, {"sol", "/"}, {"amp", "&"}, {"quot", "\""}}};
  for (const auto& [known, text] : kNames)
    if (known == name) return std::string(text);
  const bool hex = name.starts_with("0x");
  const std::string_view digits = hex ? name.substr(2) : name;
  unsigned code = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
  std::string text;
  if (error == std::errc() && end == digits.data() + digits.size() && code >= 32 && code < 0xD800)
    append_utf8(code, text);
  return text;
}

// What a link shows: "text|target" its text, else the page, or the section in quotes.
std::string link_text(std::string_view link) {
  if (const size_t bar = link.find('|'); bar != link.npos) return std::string(link.substr(0, bar));
  if (link.starts_with("http") || link.starts_with("ftp:")) return std::string(link);
  const size_t slash = link.find('/');
  if (slash == link.npos) return std::string(link);
  std::string_view section = link.substr(slash + 1);
  if (section.starts_with('"') && section.ends_with('"') && section.size() > 1)
    section = section.substr(1, section.size() - 2);
  const std::string quoted = "\"" + std::string(section) + "\"";
  return slash == 0 ? quoted : quoted + " in " + std::string(link.substr(0, slash));
}

constexpr int kMaxNesting = 32;

// Formatting codes X<...> and X<< ... >> replaced by what they show, up to `closing` or the end of the text.
std::string inline_text(std::string_view text, size_t& at, std::string_view closing, int depth) {
  std::string out;
  while (at < text.size()) {
    if (!closing.empty() && text.substr(at).starts_with(closing)) {
      at += closing.size();
      return out;
    }
    const char c = text[at];
    if (c < 'A' || c > 'Z' || at + 1 >= text.size() || text[at + 1] != '<' || depth >= kMaxNesting) {
      out += c;
      ++at;
      continue;
    }
    size_t open = 0;
    while (at + 1 + open < text.size() && text[at + 1 + open] == '<') ++open;
    std::string close(open, '>');
    at += 1 + open;
    if (open > 1) close = " " + close;
    std::string inner = inline_text(text, at, close, depth + 1);
    if (open > 1 && inner.starts_with(' ')) inner.erase(0, inner.find_first_not_of(' '));
    if (c == 'E') inner = entity_text(inner);
    if (c == 'L') inner = link_text(inner);
    if (c != 'X' && c != 'Z') out += inner;
  }
  return out;
}

std::string inline_text(std::string_view text) {
  size_t at = 0;
  return inline_text(text, at, {}, 0);
}

// Paragraphs: runs of lines without blank ones between them.
std::vector<std::string> paragraphs_of(std::string_view pod) {
  std::vector<std::string> paragraphs;
  bool open = false;
  for_each_line(pod, [&](std::string_view line) {
    if (is_blank(line)) {
      open = false;
      return;
    }
    if (!open) paragraphs.emplace_back();
    open = true;
    paragraphs.back().append(line) += '\n';
  });
  return paragraphs;
}

}  // namespace

std::string pod_to_text(std::string_view pod) {
  std::string text;
  bool in_pod = false, bullet = false;
  int foreign = 0;  // between =begin and =end of another format
  for (const std::string& paragraph : paragraphs_of(pod)) {
    if (paragraph[0] == '=') {
      const std::string_view line = paragraph;
      const std::string_view command = line.substr(1, line.find_first_of(" \t\n") - 1);
      const std::string_view rest = trim(line.substr(1 + command.size()));
      in_pod = command != "cut";
      if (command == "begin") ++foreign;
      if (command == "end" && foreign > 0) --foreign;
      if (foreign > 0 || !in_pod || command == "begin" || command == "end" || command == "for" ||
          command == "encoding" || command == "over" || command == "back" || command == "pod")
        continue;
      if (command == "item" && (rest == "*" || rest.empty())) {
        text += "* ", bullet = true;
        continue;
      }
      if (bullet) text += '\n';
      bullet = false;
      text.append(inline_text(rest)).append("\n\n");
      continue;
    }
    if (!in_pod || foreign > 0) continue;
    const bool verbatim = paragraph[0] == ' ' || paragraph[0] == '\t';
    const std::string shown = verbatim ? paragraph : inline_text(paragraph);
    if (shown.find_first_not_of(" \n\t") == shown.npos) continue;
    if (bullet && verbatim) text += '\n';
    bullet = false;
    text.append(shown) += '\n';
  }
  return text;
}

void split_pod_questions(std::string_view pod, const Emit& emit) {
  std::string part;
  const auto flush = [&] {
    if (part.starts_with("=head2")) emit(pod_to_text(part));
    part.clear();
  };
  for_each_line(pod, [&](std::string_view line) {
    if (line.starts_with("=head")) flush();
    part.append(line) += '\n';
  });
  flush();
}

}  // namespace troupe::corpus
