#include "data/corpus/parsers/sections.h"

#include <cctype>

#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "[words](target)" becomes "words"; anything else stays. Nested brackets stay as they are.
std::string without_links(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '[') {
      const size_t close = text.find_first_of("[]", i + 1);
      if (close != std::string_view::npos && text[close] == ']' && close + 1 < text.size() && text[close + 1] == '(') {
        const size_t end = text.find_first_of(")\n", close + 2);
        if (end != std::string_view::npos && text[end] == ')') {
          out += trim(text.substr(i + 1, close - i - 1));
          i = end + 1;
          continue;
        }
      }
    }
    out += text[i++];
  }
  return out;
}

// Runs of '*' and '_' that touch a word on one side only are emphasis; "a_name" and "2 * 3" keep theirs.
std::string without_emphasis(std::string_view text) {
  const auto word_at = [&](size_t i) { return i < text.size() && !std::isspace(static_cast<unsigned char>(text[i])); };
  const auto letter_at = [&](size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || (text[i] & 0x80));
  };
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '*' && text[i] != '_') {
      if (text[i] == '\\' && i + 1 < text.size() && std::ispunct(static_cast<unsigned char>(text[i + 1]))) ++i;
      out += text[i++];
      continue;
    }
    const size_t begin = i;
    while (i < text.size() && (text[i] == '*' || text[i] == '_')) ++i;
    const bool left = begin > 0 && word_at(begin - 1), right = word_at(i);
    const bool inside = begin > 0 && letter_at(begin - 1) && letter_at(i);
    // A single star alone is a list item or a product; other marks that stand alone were separated from their word.
    const bool star = text.substr(begin, i - begin) == "*";
    if (inside || (!left && !right && star)) out += text.substr(begin, i - begin);
  }
  return out;
}

}  // namespace

void split_records(std::string_view text, std::string_view separator, char comment, const Emit& emit) {
  std::string record;
  for_each_line(text, [&](std::string_view line) {
    if (trim(line) == separator) {
      if (!record.empty()) emit(std::move(record));
      record.clear();
    } else if (comment == '\0' || line.empty() || line[0] != comment) {
      record.append(line) += '\n';
    }
  });
  if (!record.empty()) emit(std::move(record));
}

void split_at_headings(std::string_view text, IsHeading is_heading, const Emit& emit) {
  std::vector<std::string_view> lines;
  for_each_line(text, [&](std::string_view line) { lines.push_back(line); });
  std::string section;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (is_heading(lines[i], i + 1 < lines.size() ? lines[i + 1] : std::string_view()) && !is_blank(section)) {
      emit(std::move(section));
      section.clear();
    }
    section.append(lines[i]) += '\n';
  }
  if (!section.empty()) emit(std::move(section));
}

bool is_chapter_heading(std::string_view line, std::string_view) {
  line = trim(line);
  return line.starts_with("CHAPTER ") || (line.starts_with("Chapter ") && line.size() < 24);
}

bool is_numbered_heading(std::string_view line, std::string_view) {
  const size_t at = line.find_first_not_of('#');
  if (at == 0 || at == std::string_view::npos) return false;
  line = trim(line.substr(at));
  return line.size() > 3 && std::isupper(static_cast<unsigned char>(line[0])) && line[1] == '.' && is_digit(line[2]);
}

bool is_release_heading(std::string_view line, std::string_view next) {
  if (next.size() < 3 || next.find_first_not_of("-=") != std::string_view::npos) return false;
  const size_t digit = line.find_first_of("0123456789");
  return digit != std::string_view::npos && line.find('.', digit) != std::string_view::npos;
}

bool is_outline_heading(std::string_view line, std::string_view) {
  const size_t end = line.find_first_not_of("0123456789.");
  return end != line.npos && end >= 3 && is_digit(line[0]) && is_digit(line[end - 1]) && line[end] == ':' &&
         line.substr(0, end).find('.') != line.npos;
}

bool is_star_heading(std::string_view line, std::string_view) { return line.starts_with("* "); }

bool is_part_heading(std::string_view line, std::string_view) {
  return line.starts_with("_PART ") || line.starts_with("_PROP._ ");
}

std::string markdown_to_text(std::string_view markdown) {
  std::string text;
  for_each_line(without_emphasis(without_links(markdown)), [&](std::string_view line) {
    const std::string_view content = trim(line);
    if (content.size() >= 3 && content.find_first_not_of("-* ") == std::string_view::npos) {
      text += '\n';  // a rule
      return;
    }
    if (!line.empty() && line[0] == '#') line = trim(line.substr(std::min(line.find_first_not_of('#'), line.size())));
    if (line.starts_with("> ")) line.remove_prefix(2);
    if (line == ">") line = {};
    text.append(line) += '\n';
  });
  return text;
}

}  // namespace troupe::corpus
