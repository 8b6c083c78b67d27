#include "data/tokenizer/oniguruma.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "data/tokenizer/character_sets.h"

namespace troupe {
namespace {

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    groups_.push_back({.begin = 0, .quantifiable = false, .fold = false, .extra = 0});
    while (at_ < pattern_.size()) element();
    if (groups_.size() > 1) refuse("a group without its )", at_);
    close_isolated();
    return std::move(out_);
  }

 private:
  struct Group {
    size_t begin;       // in out_
    bool quantifiable;  // not a lookaround
    bool fold;          // (?i) outside of it
    int extra;          // groups that isolated options opened in it
  };

  [[noreturn]] void refuse(std::string_view what, size_t at) const {
    fail(ErrorCode::kData,
         "{}: expected constructs that PCRE2 can be made to read as Hugging Face does, got {} (character {})", where_,
         what, at + 1);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  std::string_view rest() const { return pattern_.substr(at_); }

  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }
  void no_atom() { atom_.reset(); }

  void element() {
    const size_t begin = at_;
    const char c = pattern_[at_++];
    switch (c) {
      case '\\':
        return escape(begin);
      case '[':
        last_folded_ = '\0';
        return atom(character_class(begin));
      case '(':
        return open_group(begin);
      case ')':
        return close_group(begin);
      case '|':
        last_folded_ = '\0';
        out_ += '|';
        return no_atom();
      case '^':
        out_ += "(?m:^)";
        return no_atom();
      case '$':
        out_ += "(?m:$)";
        return no_atom();
      case '.':
        last_folded_ = '\0';
        return atom(".");
      case '*':
      case '+':
      case '?':
        return quantifier(begin, std::string(1, c), /*interval=*/false, /*exact=*/false);
      case '{':
        if (interval(begin)) return;
        return literal("{", begin);
      default:
        at_ = begin;
        return literal(character(), begin);
    }
  }

  // The whole UTF-8 character at at_.
  std::string_view character() {
    const size_t begin = at_++;
    while (at_ < pattern_.size() && (static_cast<uint8_t>(pattern_[at_]) & 0xC0) == 0x80) ++at_;
    return pattern_.substr(begin, at_ - begin);
  }

  static std::string quoted(std::string_view character) {
    if (character.size() > 1 || std::isalnum(static_cast<unsigned char>(character[0])) || character[0] == ' ' ||
        std::iscntrl(static_cast<unsigned char>(character[0])))
      return std::string(character);
    return "\\" + std::string(character);
  }

  void literal(std::string_view c, size_t at) {
    if (fold_) check_fold(c, at);
    atom(quoted(c));
  }

  // With (?i) Oniguruma folds to several characters too: ss is also U+00DF, fi also U+FB01.
  void check_fold(std::string_view c, size_t at) {
    if (c.size() > 1) refuse(fmt::format("{} under (?i)", c), at);
    const char now = static_cast<char>(std::tolower(static_cast<unsigned char>(c[0])));
    const std::string pair = {last_folded_, now};
    for (const char* folded : {"ss", "ff", "fi", "fl", "st"})
      if (pair == folded) refuse(fmt::format("{} under (?i), which is also one character there", pair), at);
    last_folded_ = now;
  }

  // A character of the pattern given by its code, or nothing if `\` and what follows is another escape.
  std::optional<std::string> escaped_character(size_t begin) {
    const char c = peek();
    const auto code = [&](uint32_t value) { return fmt::format("\\x{{{:x}}}", value); };
    switch (c) {
      case 't':
      case 'n':
      case 'r':
      case 'f':
        ++at_;
        return std::string{'\\', c};
      case 'v':
        ++at_;
        return code(0x0B);
      case 'a':
        ++at_;
        return code(0x07);
      case 'e':
        ++at_;
        return code(0x1B);
      case 'x':
      case 'u':
        return code(code_point(begin));
      default:
        break;
    }
    if (at_ == pattern_.size()) refuse("a backslash at the end", begin);
    if (std::isalnum(static_cast<unsigned char>(c))) return std::nullopt;
    return quoted(character());
  }

  // \xHH \x{H...} \uHHHH
  uint32_t code_point(size_t begin) {
    const bool braces = rest().starts_with("x{"), four = peek() == 'u';
    at_ += braces ? 2 : 1;
    const size_t most = braces ? 8 : four ? 4 : 2;
    uint32_t value = 0;
    size_t digits = 0;
    for (; digits < most && std::isxdigit(static_cast<unsigned char>(peek())); ++digits) {
      const char c = pattern_[at_++];
      value = value * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    const bool closed = !braces || peek() == '}';
    at_ += braces && closed;
    const bool byte = !braces && !four && value >= 0x80;  // Oniguruma: one byte of UTF-8
    if (digits == 0 || (four && digits < 4) || !closed || byte || value > 0x10FFFF ||
        (value >= 0xD800 && value < 0xE000))
      refuse(pattern_.substr(begin, at_ - begin), begin);
    if (fold_ && value >= 0x80) refuse(fmt::format("{} under (?i)", pattern_.substr(begin, at_ - begin)), begin);
    if (fold_ && std::isalpha(static_cast<int>(value))) check_fold(std::string(1, static_cast<char>(value)), begin);
    return value;
  }

  // \s \d \h \p{...} and complements; nothing for other escapes. `negated` says which of the two sets is meant.
  std::optional<CharacterSet> escaped_set(size_t begin, bool& negated) {
    const char c = peek();
    negated = c == 'S' || c == 'D' || c == 'H';
    const char* name = nullptr;
    switch (c | 0x20) {
      case 's':
        name = "space";
        break;
      case 'd':
        name = "digit";
        break;
      case 'h':
        name = "xdigit";
        break;
      case 'p':
        break;
      default:
        return std::nullopt;
    }
    ++at_;
    if (name) return *named_set(name);
    if (peek() != '{') refuse(fmt::format("\\{}{} (write \\{}{{{}}})", c, peek(), c, peek()), begin);
    const size_t end = pattern_.find('}', at_);
    if (end == pattern_.npos) refuse(fmt::format("\\{}{{ without its }}", c), begin);
    std::string_view inside = pattern_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    negated = c == 'P';
    if (inside.starts_with('^')) {
      negated = !negated;
      inside.remove_prefix(1);
    }
    if (fold_) refuse(fmt::format("\\{}{{{}}} under (?i)", c, inside), begin);
    std::string plain;
    for (const char letter : inside) {
      if (letter == ' ' || letter == '_' || letter == '-') continue;
      if (!std::isalnum(static_cast<unsigned char>(letter))) refuse(fmt::format("\\{}{{{}}}", c, inside), begin);
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    }
    if (plain.empty()) refuse(fmt::format("\\{}{{}}", c), begin);
    if (auto known = named_set(plain)) return known;
    return property("sc:" + plain);  // scripts; PCRE2 says so if it is none
  }

  void escape(size_t begin) {
    last_folded_ = fold_ ? last_folded_ : '\0';
    bool negated = false;
    if (const auto set = escaped_set(begin, negated)) {
      last_folded_ = '\0';
      return atom((negated ? "[^" : "[") + set->in + "]");
    }
    if (const auto one = escaped_character(begin)) return atom(*one);
    const char c = pattern_[at_++];
    last_folded_ = '\0';
    switch (c) {
      case 'A':
      case 'z':
      case 'Z':
        out_ += {'\\', c};
        return no_atom();
      case 'R':
        return atom("(?>\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])");
      default:
        refuse(fmt::format("\\{}", c), begin);
    }
  }

  // After "[": all of the class as PCRE2 has it.
  std::string character_class(size_t begin) {
    std::string members;
    bool complement = false, first = true;
    if (peek() == '^') {
      complement = true;
      ++at_;
    }
    const auto one = [&]() -> std::optional<std::string> {  // a single character, or nothing if a set comes
      const size_t at = at_;
      if (peek() != '\\') {
        const std::string_view c = character();
        if (fold_ && c.size() > 1) refuse(fmt::format("{} in a class under (?i)", c), at);
        return quoted(c);
      }
      ++at_;
      if (peek() == 'b') {
        ++at_;
        return "\\x{8}";
      }
      const char last = last_folded_;
      auto made = escaped_character(at);
      last_folded_ = last;
      if (!made) at_ = at;
      return made;
    };
    for (;; first = false) {
      const size_t at = at_;
      if (at_ == pattern_.size()) refuse("a class without its ]", begin);
      if (peek() == ']') {
        if (first) refuse("] as the first member of a class", at);
        ++at_;
        break;
      }
      if (rest().starts_with("&&")) refuse("&& in a class", at);
      if (rest().starts_with("[:")) {
        members += posix(at);
        continue;
      }
      if (peek() == '[') refuse("a class inside a class", at);
      if (peek() == '-' && !first && peek(1) != ']') refuse("- between members that are no range (write \\-)", at);
      const auto low = one();
      if (!low) {
        ++at_;  // the backslash
        bool negated = false;
        const auto set = escaped_set(at, negated);
        if (!set) refuse(fmt::format("{} in a class", pattern_.substr(at, 2)), at);
        if (negated && (set->out.empty() || fold_)) refuse(fmt::format("{} in a class", pattern_.substr(at, 2)), at);
        members += negated ? set->out : set->in;
        continue;
      }
      members += *low;
      if (peek() != '-' || peek(1) == ']' || at_ + 1 >= pattern_.size()) continue;
      ++at_;
      if (peek() == '[') refuse("a class as the end of a range", at_);
      const size_t high_at = at_;
      const auto high = one();
      if (!high) refuse("a class as the end of a range", high_at);
      members += "-" + *high;
    }
    return (complement ? "[^" : "[") + members + "]";
  }

  // [:name:] or [:^name:] within a class.
  std::string posix(size_t begin) {
    const size_t end = pattern_.find(":]", at_);
    if (end == pattern_.npos) refuse("[: in a class", begin);
    std::string name(pattern_.substr(at_ + 2, end - at_ - 2));
    at_ = end + 2;
    const bool negated = name.starts_with('^');
    if (negated) name.erase(0, 1);
    constexpr std::string_view kNames[] = {"ascii", "blank", "cntrl", "digit", "space", "upper", "xdigit"};
    if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames) || fold_)
      refuse(fmt::format("[:{}:]{}", name, fold_ ? " under (?i)" : ""), begin);
    const CharacterSet set = *named_set(name);
    if (negated && set.out.empty()) refuse(fmt::format("[:^{}:]", name), begin);
    return negated ? set.out : set.in;
  }

  void open_group(size_t begin) {
    if (peek() == '*') refuse("(*", begin);
    Group group{.begin = out_.size(), .quantifiable = true, .fold = fold_, .extra = 0};
    if (peek() != '?') {
      out_ += "(?:";
    } else if (rest().starts_with("?:") || rest().starts_with("?>")) {
      out_ += "(" + std::string(rest().substr(0, 2));
      at_ += 2;
    } else if (rest().starts_with("?=") || rest().starts_with("?!")) {
      out_ += "(" + std::string(rest().substr(0, 2));
      at_ += 2;
      group.quantifiable = false;
    } else if (rest().starts_with("?<=") || rest().starts_with("?<!")) {
      out_ += "(" + std::string(rest().substr(0, 3));
      at_ += 3;
      group.quantifiable = false;
    } else if (rest().starts_with("?<") && pattern_.find('>', at_) != pattern_.npos) {
      at_ = pattern_.find('>', at_) + 1;
      out_ += "(?:";
    } else {
      return options(begin);
    }
    groups_.push_back(group);
    no_atom();
  }

  // (?im-im:...) is a group; (?im-im) opens one that ends with the group around it, as in Ruby.
  void options(size_t begin) {
    const bool outer = fold_;
    std::string on = "(?", off;
    bool negative = false;
    for (++at_; peek() != ':' && peek() != ')'; ++at_) {
      const char c = peek();
      if (c == '-' && !negative) {
        negative = true;
      } else if (c == 'i' || c == 'm') {
        if (c == 'i') fold_ = !negative;
        (negative ? off : on) += c == 'i' ? 'i' : 's';
      } else {
        refuse(pattern_.substr(begin, at_ + 1 - begin), begin);
      }
    }
    out_size_before_options_ = out_.size();
    out_ += on + (off.empty() ? "" : "-" + off) + ":";
    last_folded_ = '\0';
    no_atom();
    if (pattern_[at_++] == ':')
      groups_.push_back({.begin = out_size_before_options_, .quantifiable = true, .fold = outer, .extra = 0});
    else
      ++groups_.back().extra;
  }

  void close_isolated() { out_.append(static_cast<size_t>(groups_.back().extra), ')'); }

  void close_group(size_t begin) {
    if (groups_.size() == 1) refuse("a ) without its (", begin);
    close_isolated();
    const Group group = groups_.back();
    groups_.pop_back();
    out_ += ')';
    fold_ = group.fold;
    if (group.quantifiable)
      atom_ = group.begin;
    else
      no_atom();
  }

  // After "{": true if it is an interval, which is then done.
  bool interval(size_t begin) {
    const size_t end = pattern_.find('}', at_);
    if (end == pattern_.npos) return false;
    const std::string_view inside = pattern_.substr(at_, end - at_);
    const size_t comma = inside.find(',');
    const std::string_view low = inside.substr(0, comma);
    const std::string_view high = comma == inside.npos ? std::string_view() : inside.substr(comma + 1);
    const auto digits = [](std::string_view text) { return text.find_first_not_of("0123456789") == text.npos; };
    if (!digits(low) || !digits(high) || (low.empty() && high.empty())) return false;
    at_ = end + 1;
    if (fold_ && (last_folded_ == 's' || last_folded_ == 'f'))
      refuse(fmt::format("{}{{{}}} under (?i)", last_folded_, inside), begin);
    const std::string from(low.empty() ? "0" : low);
    quantifier(begin, comma == inside.npos ? fmt::format("{{{}}}", from) : fmt::format("{{{},{}}}", from, high),
               /*interval=*/true, /*exact=*/comma == inside.npos);
    return true;
  }

  void quantifier(size_t begin, const std::string& text, bool interval, bool exact) {
    if (!atom_)
      refuse(fmt::format("{} with nothing to repeat, or after another quantifier", pattern_.substr(begin, at_ - begin)),
             begin);
    out_ += text;
    const char suffix = peek();
    if (interval && (suffix == '+' || (suffix == '?' && exact))) {  // Ruby: repeats the interval, or makes it optional
      out_.insert(*atom_, "(?:");
      out_ += ')';
    }
    if (suffix == '?' || suffix == '+') {
      out_ += suffix;
      ++at_;
    }
    no_atom();
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  std::string out_;
  std::optional<size_t> atom_;  // where in out_ what a quantifier would repeat begins
  std::vector<Group> groups_;   // open ones; the first is the whole pattern
  bool fold_ = false;           // (?i)
  char last_folded_ = '\0';     // the literal before this place under (?i)
  size_t out_size_before_options_ = 0;
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

std::string literal_to_pcre2(std::string_view text) {
  std::string pattern;
  for (const std::string_view character : characters(text))
    pattern += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(code_point(character)));
  return pattern;
}

}  // namespace troupe
