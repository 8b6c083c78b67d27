#include "data/corpus/parsers/roff.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "data/corpus/parsers/lines.h"
#include "data/corpus/parsers/roff_escapes.h"

namespace troupe::corpus {
namespace {

constexpr int kMaxDepth = 6;  // macros that call macros
constexpr size_t kMaxText = 64u << 20;
constexpr int64_t kMaxLines = 4 << 20;  // lines processed, expansions included: macros that double each other stop here

// Arguments of a request, by groff's rules: separated by blanks, quoted by ", a doubled quote inside stands for one.
std::vector<std::string> arguments(std::string_view rest) {
  std::vector<std::string> list;
  for (size_t i = 0; i < rest.size();) {
    if (rest[i] == ' ' || rest[i] == '\t') {
      ++i;
      continue;
    }
    if (rest.substr(i, 2) == "\\\"") break;
    std::string word;
    if (rest[i] == '"') {
      for (++i; i < rest.size(); ++i) {
        if (rest[i] == '"' && (i + 1 >= rest.size() || rest[i + 1] != '"')) break;
        if (rest[i] == '"') ++i;
        word += rest[i];
      }
      ++i;
    } else {
      while (i < rest.size() && rest[i] != ' ' && rest[i] != '\t') {
        if (rest[i] == '\\' && i + 1 < rest.size()) word += rest[i++];  // "\ " does not end the argument
        word += rest[i++];
      }
    }
    list.push_back(std::move(word));
  }
  return list;
}

template <size_t N>
bool one_of(std::string_view name, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

class Page {
 public:
  std::string render(std::string_view roff) {
    std::vector<std::string> lines;
    for_each_line(roff, [&](std::string_view line) { lines.emplace_back(line); });
    bool stub = false, content = false;
    for (const std::string& line : lines) {
      if (line.starts_with(".so ")) stub = true;
      if (!is_blank(line) && line.rfind(".\\\"", 0) != 0 && line.rfind("'\\\"", 0) != 0 && !line.starts_with(".so "))
        content = true;
    }
    if (stub && !content) return {};
    process(lines, 0);
    flush();
    return std::move(text_);
  }

 private:
  enum class Table { kNone, kOptions, kFormat, kRows };

  void process(const std::vector<std::string>& lines, int depth) {
    for (size_t i = 0; i < lines.size() && text_.size() < kMaxText && ++lines_ < kMaxLines; ++i) {
      std::string_view line = lines[i];
      if (skip_depth_ > 0) {  // inside \{ ... \} of a condition that is false
        count_braces(line);
        continue;
      }
      const bool request = !line.empty() && (line[0] == '.' || line[0] == '\'');
      if (!request) {
        text_line(line);
        continue;
      }
      line.remove_prefix(1);
      line = line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
      size_t end = line.find_first_of(" \t");
      if (const size_t slash = line.find('\\'); slash < end) end = slash;  // .if\{ and .\" comments
      const std::string name(line.substr(0, end));
      const std::string_view rest = end == std::string_view::npos ? std::string_view() : line.substr(end);
      if (name == "de" || name == "de1" || name == "am" || name == "ig") {
        i = define(lines, i, name, rest);
      } else {
        handle(name, rest, depth);
      }
    }
  }

  // Stores the macro that starts at lines[i]; returns the index of its last line (".." or the given end).
  size_t define(const std::vector<std::string>& lines, size_t i, const std::string& request, std::string_view rest) {
    const auto args = arguments(rest);
    const size_t end_argument = request == "ig" ? 0 : 1;
    const std::string end = "." + (args.size() > end_argument ? args[end_argument] : std::string("."));
    std::vector<std::string> body;
    for (++i; i < lines.size() && trim(lines[i]) != end; ++i) body.push_back(lines[i]);
    if (request != "ig" && !args.empty()) macros_[args[0]] = std::move(body);
    return i;
  }

  void handle(const std::string& name, std::string_view rest, int depth) {
    static constexpr std::array<std::string_view, 9> kAlternating = {"BR", "RB", "BI", "IB", "IR",
                                                                     "RI", "SB", "CR", "RC"};
    static constexpr std::array<std::string_view, 7> kFonts = {"B", "I", "SM", "R", "CW", "C", "L"};
    static constexpr std::array<std::string_view, 12> kParagraphs = {"PP", "LP", "P",  "HP",     "sp",       "RS",
                                                                     "RE", "YS", "bp", "INDENT", "UNINDENT", "HE"};
    static constexpr std::array<std::string_view, 5> kBreaks = {"br", "in", "ti", "ce", "brp"};
    if (const auto macro = macros_.find(name); macro != macros_.end() && depth < kMaxDepth) {
      process(substitute(macro->second, arguments(rest)), depth + 1);
    } else if (name == "if" || name == "ie" || name == "el" || name == "while") {
      condition(name, rest, depth);
    } else if (name == "ds" || name == "as") {
      define_string(rest, name == "as");
    } else if (name == "TH") {
      const auto args = arguments(rest);
      if (args.size() >= 2) block(expand(args[0]) + "(" + expand(args[1]) + ")");
    } else if (name == "SH" || name == "SS") {
      paragraph();
      heading_ = rest.find_first_not_of(" \t") == std::string_view::npos;
      if (!heading_) block(joined(rest, " "));
    } else if (name == "TP" || name == "TQ" || name == "IP") {
      paragraph();
      tag_ = name != "IP";
      if (name == "IP")
        if (const auto args = arguments(rest); !args.empty() && !args[0].empty()) words(expand(args[0]));
    } else if (name == "nf" || name == "EX" || name == "Vb") {
      flush();
      verbatim_ = true;
    } else if (name == "fi" || name == "EE" || name == "Ve") {
      flush();
      verbatim_ = false;
    } else if (name == "TS") {
      paragraph();
      table_ = Table::kOptions;
    } else if (name == "TE") {
      flush();
      table_ = Table::kNone;
      paragraph();
    } else if (name == "T&") {
      table_ = Table::kFormat;
    } else if (name == "UR" || name == "MT") {
      link_ = joined(rest, "");
    } else if (name == "UE" || name == "ME") {
      words("<" + link_ + ">" + joined(rest, ""));
    } else if (name == "SY") {
      flush();
      words(joined(rest, " "));
    } else if (name == "OP") {
      words("[" + joined(rest, " ") + "]");
    } else if (one_of(name, kAlternating)) {
      emit_words(joined(rest, ""));
    } else if (one_of(name, kFonts)) {
      if (const std::string text = joined(rest, " "); !text.empty()) emit_words(text);
    } else if (one_of(name, kParagraphs)) {
      paragraph();
    } else if (one_of(name, kBreaks)) {
      flush();
    }
    // Everything else (fonts, tabs, adjustment, hyphenation, registers) prints nothing.
  }

  void text_line(std::string_view line) {
    if (table_ == Table::kOptions && !line.ends_with(';')) table_ = Table::kFormat;
    if (table_ == Table::kOptions || table_ == Table::kFormat) {
      if (table_ == Table::kOptions)
        table_ = Table::kFormat;
      else if (trim(line).ends_with('.'))
        table_ = Table::kRows;
      return;
    }
    if (table_ == Table::kRows) {
      table_row(line);
      return;
    }
    if (is_blank(line) && !verbatim_) {
      paragraph();
      return;
    }
    emit_words(expand(line));
  }

  void emit_words(const std::string& text) {
    if (heading_) {
      heading_ = false;
      block(text);
    } else if (verbatim_) {
      flush();
      text_ += text;
      text_ += '\n';
    } else {
      words(text);
    }
    if (tag_) {
      tag_ = false;
      flush();
    }
  }

  // One line per row: T{ ... T} cells are joined, tabs become two blanks, rules go.
  void table_row(std::string_view line) {
    if (line == "_" || line == "=" || is_blank(line)) return;
    if (line.starts_with("T}")) {
      in_cell_ = false;
      line.remove_prefix(2);
    }
    std::string row = expand(line);
    if (row.ends_with("T{")) {
      in_cell_ = true;
      row.resize(row.size() - 2);
    }
    for (size_t at; (at = row.find('\t')) != std::string::npos;) row.replace(at, 1, "  ");
    words(row);
    if (!in_cell_) flush();
  }

  void define_string(std::string_view rest, bool append) {
    rest = rest.substr(std::min(rest.find_first_not_of(" \t"), rest.size()));
    const size_t end = rest.find_first_of(" \t");
    const std::string name(rest.substr(0, end));
    std::string_view value = end == std::string_view::npos ? std::string_view() : rest.substr(end);
    value = value.substr(std::min(value.find_first_not_of(" \t"), value.size()));
    if (value.starts_with('"')) value.remove_prefix(1);
    std::string& stored = strings_[name];
    std::string text = expand(value);
    if (append) text = stored + text;
    if (text.size() < 4096) stored = std::move(text);  // strings are phrases; a longer one feeds on itself
  }

  // Only "n" (a terminal, which this is) and "!t" hold; anything that needs a register or a comparison does not.
  void condition(const std::string& name, std::string_view rest, int depth) {
    rest = trim(rest);
    bool holds = false;
    if (name == "el") {
      holds = !last_condition_;
    } else if (name != "while") {
      const bool negated = rest.starts_with('!');
      if (negated) rest.remove_prefix(1);
      holds = (!rest.empty() && rest[0] == 'n' && (rest.size() == 1 || rest[1] == ' ' || rest[1] == '\\')) != negated;
      if (negated && !rest.empty() && rest[0] != 'n' && rest[0] != 't') holds = false;
      last_condition_ = holds;
      const size_t blank = rest.find_first_of(" \t");
      const size_t brace = rest.find("\\{");
      rest = rest.substr(std::min({blank, brace, rest.size()}));
    }
    rest = trim(rest);
    const bool opens = rest.starts_with("\\{");
    if (!holds) {
      if (opens) count_braces(rest);
      return;
    }
    if (opens) rest.remove_prefix(2);
    rest = trim(rest);
    if (rest == "\\" || rest.empty() || depth >= kMaxDepth) return;
    process({std::string(rest)}, depth + 1);
  }

  void count_braces(std::string_view line) {
    for (size_t i = 0; i + 1 < line.size(); ++i) {
      if (line[i] != '\\') continue;
      if (line[i + 1] == '{') ++skip_depth_;
      if (line[i + 1] == '}' && skip_depth_ > 0) --skip_depth_;
      ++i;
    }
  }

  static std::vector<std::string> substitute(const std::vector<std::string>& body,
                                             const std::vector<std::string>& args) {
    std::vector<std::string> lines;
    for (const std::string& line : body) {
      std::string out;
      for (size_t i = 0; i < line.size(); ++i) {
        size_t j = i;
        while (j < line.size() && line[j] == '\\' && j < i + 2) ++j;
        if (j > i && j + 1 < line.size() && line[j] == '$' && line[j + 1] >= '1' && line[j + 1] <= '9') {
          const size_t index = static_cast<size_t>(line[j + 1] - '1');
          if (index < args.size()) out += args[index];
          i = j + 1;
        } else if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '\\') {
          out += '\\';  // one level of quoting goes when a macro is read
          ++i;
        } else {
          out += line[i];
        }
      }
      lines.push_back(std::move(out));
    }
    return lines;
  }

  std::string expand(std::string_view text) const { return expand_roff_escapes(text, strings_); }
  std::string joined(std::string_view rest, std::string_view between) const {
    std::string text;
    for (const std::string& argument : arguments(rest)) {
      if (!text.empty()) text += between;
      text += expand(argument);
    }
    return text;
  }

  // Adds words to the paragraph that is being filled.
  void words(const std::string& text) {
    const std::string_view content = trim(text);
    if (content.empty()) return;
    if (!line_.empty()) line_ += ' ';
    line_ += content;
  }
  void flush() {
    if (line_.empty()) return;
    text_ += line_;
    text_ += '\n';
    line_.clear();
  }
  void paragraph() {
    flush();
    if (!text_.empty() && !text_.ends_with("\n\n")) text_ += '\n';
  }
  // A line of its own between blank lines: a heading.
  void block(const std::string& text) {
    paragraph();
    text_ += text;
    text_ += "\n\n";
  }

  std::string text_, line_, link_;
  bool verbatim_ = false, tag_ = false, heading_ = false, in_cell_ = false, last_condition_ = false;
  Table table_ = Table::kNone;
  int skip_depth_ = 0;
  int64_t lines_ = 0;
  std::map<std::string, std::vector<std::string>> macros_;
  RoffStrings strings_ = {{"lq", "“"}, {"rq", "”"}, {"R", "®"}, {"Tm", "™"}, {"S", ""}};
};

}  // namespace

std::string roff_to_text(std::string_view roff) { return Page().render(roff); }

}  // namespace troupe::corpus
