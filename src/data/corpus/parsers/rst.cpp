#include "data/corpus/parsers/rst.h"

#include <algorithm>
#include <array>
#include <vector>

#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

// Directives whose content goes with them, and those that only frame theirs. All others show their arguments, e.g. the
// signature of a function.
constexpr std::array<std::string_view, 32> kDropped = {
    "toctree",           "image",         "figure",      "index",
    "include",           "kernel-doc",    "contents",    "tabularcolumns",
    "literalinclude",    "currentmodule", "module",      "sectionauthor",
    "moduleauthor",      "testsetup",     "testcleanup", "raw",
    "kernel-figure",     "kernel-render", "highlight",   "meta",
    "sectnum",           "default-role",  "role",        "kernel-include",
    "audit-event-table", "program",       "py:module",   "py:currentmodule",
    "c:namespace",       "only",          "cssclass",    "graphviz"};
constexpr std::array<std::string_view, 28> kFrames = {
    "note",     "warning",   "tip",        "important",  "seealso",        "hint",      "caution",
    "danger",   "attention", "admonition", "code-block", "sourcecode",     "code",      "parsed-literal",
    "topic",    "rubric",    "math",       "table",      "list-table",     "csv-table", "flat-table",
    "centered", "container", "class",      "doctest",    "productionlist", "epigraph",  "todo"};

template <size_t N>
bool among(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

size_t indent_of(std::string_view line) {
  size_t columns = 0;
  for (const char c : line) {
    if (c == '\t')
      columns = columns / 8 * 8 + 8;
    else if (c == ' ')
      ++columns;
    else
      break;
  }
  return columns;
}

// A line under or over a title, or a rule of a simple table.
bool is_rule(std::string_view line) {
  line = trim(line);
  if (line.size() < 3) return false;
  constexpr std::string_view kMarks = "=-~^\"'`#*+:._<>";
  return kMarks.find(line[0]) != kMarks.npos && line.find_first_not_of(std::string{line[0], ' '}) == line.npos;
}

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c & 0x80);
}

// "text <target>" and "~package.name" as they are shown.
std::string reference_text(std::string_view inner) {
  if (inner.ends_with('>'))
    if (const size_t open = inner.rfind('<'); open != inner.npos && open > 0 && !is_blank(inner.substr(0, open)))
      inner = trim(inner.substr(0, open));
  if (inner.starts_with('!')) inner.remove_prefix(1);
  if (inner.starts_with('~')) {
    inner.remove_prefix(1);
    if (const size_t dot = inner.rfind('.'); dot != inner.npos) inner.remove_prefix(dot + 1);
  }
  return std::string(inner);
}

// Length of ":role:" at the start of `text` if "`" follows, else 0.
size_t role_bytes(std::string_view text) {
  if (!text.starts_with(':')) return 0;
  size_t i = 1;
  while (i < text.size() && (is_word(text[i]) || text[i] == '-' || text[i] == ':' || text[i] == '+' || text[i] == '.'))
    ++i;
  return i > 2 && text[i - 1] == ':' && i < text.size() && text[i] == '`' ? i : 0;
}

// Inline markup of one paragraph.
std::string inline_markup(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    const bool starts = i == 0 || !is_word(text[i - 1]);
    if (rest.starts_with("``")) {
      const size_t end = rest.find("``", 2);
      if (end != rest.npos) {
        out += rest.substr(2, end - 2);
        i += end + 2;
        continue;
      }
    }
    const size_t role = starts ? role_bytes(rest) : 0;
    if (rest.starts_with(":pep:`") || rest.starts_with(":rfc:`")) out += rest[1] == 'p' ? "PEP " : "RFC ";
    if (role > 0 || (starts && rest.starts_with('`'))) {
      const size_t end = rest.find('`', role + 1);
      if (end != rest.npos) {
        out += reference_text(rest.substr(role + 1, end - role - 1));
        i += end + 1;
        while (i < text.size() && text[i] == '_') ++i;
        continue;
      }
    }
    if (starts && rest.starts_with('*') && rest.size() > 1) {
      const std::string_view mark = rest.substr(0, rest.starts_with("**") ? 2 : 1);
      const size_t end = rest.find(mark, mark.size());
      const bool opens = rest.size() > mark.size() && rest[mark.size()] != ' ' && rest[mark.size()] != '\n' &&
                         rest[mark.size()] != '*' && rest[mark.size()] != ')';
      if (opens && end != rest.npos && end > mark.size() && rest[end - 1] != ' ' && rest[end - 1] != '\n' &&
          rest.substr(0, end).find("\n\n") == rest.npos &&
          (end + mark.size() >= rest.size() || !is_word(rest[end + mark.size()]))) {
        out += rest.substr(mark.size(), end - mark.size());
        i += end + mark.size();
        continue;
      }
    }
    // name_ refers to a target
    if (rest.starts_with('_') && i > 0 && is_word(text[i - 1]) &&
        (rest.size() == 1 || !(is_word(rest[1]) || rest[1] == '_' || rest[1] == '(' || rest[1] == '*'))) {
      ++i;
      continue;
    }
    if (rest[0] == '\\' && rest.size() > 1) {
      ++i;
      if (text[i] == ' ')
        ++i;  // joins what stands beside it
      else
        out += text[i++];
      continue;
    }
    out += text[i++];
  }
  return out;
}

class RstReader {
 public:
  explicit RstReader(std::string_view rst) {
    for_each_line(rst, [&](std::string_view line) { lines_.push_back(line); });
  }

  std::string read() {
    for (size_t i = 0; i < lines_.size();) i = step(i);
    flush();
    return std::move(text_);
  }

 private:
  // Reads what begins at line i and says where the next begins.
  size_t step(size_t i) {
    const std::string_view line = lines_[i], content = trim(line);
    if (content.empty()) {
      flush();
      text_ += '\n';
      return i + 1;
    }
    if (content == ".." || content.starts_with(".. ") || content.starts_with("__ ")) return explicit_markup(i);
    if (content.starts_with(":tocdepth:") || content == ":orphan:") return i + 1;
    if (is_rule(line)) {
      flush();
      return i + 1;
    }
    if (content == "::") {
      flush();
      return literal(i + 1, indent_of(line));
    }
    if (content.ends_with("::")) {
      paragraph_.append(line.substr(0, line.find_last_not_of(" \t"))) += '\n';
      flush();
      return literal(i + 1, indent_of(line));
    }
    if (content.starts_with(">>>")) {  // a doctest block ends with a blank line
      flush();
      for (; i < lines_.size() && !is_blank(lines_[i]); ++i) text_.append(lines_[i]) += '\n';
      return i;
    }
    paragraph_.append(line) += '\n';
    return i + 1;
  }

  // Copies blank lines and those that are indented deeper; they are no markup.
  size_t literal(size_t i, size_t indent) {
    for (; i < lines_.size() && (is_blank(lines_[i]) || indent_of(lines_[i]) > indent); ++i)
      text_.append(lines_[i]) += '\n';
    return i;
  }

  size_t skip(size_t i, size_t indent) const {
    while (i < lines_.size() && (is_blank(lines_[i]) || indent_of(lines_[i]) > indent)) ++i;
    return i;
  }

  size_t explicit_markup(size_t i) {
    flush();
    const std::string_view line = lines_[i];
    const size_t indent = indent_of(line);
    std::string_view content = trim(line);
    content = content == ".." ? "" : trim(content.substr(3));
    if (content.starts_with('[')) {  // a footnote or citation
      paragraph_.append(content) += '\n';
      return i + 1;
    }
    const size_t mark = content.find("::");
    const bool directive = mark != content.npos && mark > 0 && !content.starts_with('_') && !content.starts_with('|') &&
                           content.substr(0, mark).find(' ') == content.npos;
    if (!directive) return skip(i + 1, indent);
    const std::string_view name = content.substr(0, mark), arguments = trim(content.substr(mark + 2));
    if (among(kDropped, name)) return skip(i + 1, indent);
    const bool code = name == "code-block" || name == "sourcecode" || name == "code" || name == "parsed-literal" ||
                      name == "math" || name == "doctest" || name == "productionlist";
    size_t next = i + 1;
    if (!code && !arguments.empty()) {
      paragraph_.append(inline_arguments(name, arguments)) += '\n';
      // Further signatures stand below the first.
      while (next < lines_.size() && !among(kFrames, name) && !is_blank(lines_[next]) &&
             indent_of(lines_[next]) > indent && !trim(lines_[next]).starts_with(':'))
        paragraph_.append(trim(lines_[next++])) += '\n';
    }
    while (next < lines_.size() && indent_of(lines_[next]) > indent && trim(lines_[next]).starts_with(':')) ++next;
    if (!code) return next;
    flush();
    return literal(next, indent);
  }

  static std::string inline_arguments(std::string_view name, std::string_view arguments) {
    if (name == "versionadded") return "New in version " + std::string(arguments);
    if (name == "versionchanged") return "Changed in version " + std::string(arguments);
    if (name == "deprecated") return "Deprecated since version " + std::string(arguments);
    return std::string(arguments);
  }

  void flush() {
    text_ += inline_markup(paragraph_);
    paragraph_.clear();
  }

  std::vector<std::string_view> lines_;
  std::string text_, paragraph_;
};

}  // namespace

std::string rst_to_text(std::string_view rst) { return RstReader(rst).read(); }

}  // namespace troupe::corpus
