#include "data/corpus/parsers/roff_escapes.h"

#include <cstdint>

namespace troupe::corpus {
namespace {

struct Glyph {
  std::string_view name, text;
};
// groff_char(7): the names that manual pages use.
constexpr Glyph kGlyphs[] = {
    {"aq", "'"},       {"dq", "\""}, {"oq", "‘"}, {"cq", "’"}, {"lq", "“"}, {"rq", "”"},  {"bu", "•"},   {"em", "—"},
    {"en", "–"},       {"hy", "-"},  {"mi", "-"}, {"ha", "^"}, {"ti", "~"}, {"rs", "\\"}, {"ga", "`"},   {"aa", "´"},
    {"co", "©"},       {"rg", "®"},  {"tm", "™"}, {"at", "@"}, {"sh", "#"}, {"Do", "$"},  {"br", "|"},   {"bv", "|"},
    {"or", "|"},       {"ba", "|"},  {"lB", "["}, {"rB", "]"}, {"lC", "{"}, {"rC", "}"},  {"la", "⟨"},   {"ra", "⟩"},
    {"sl", "/"},       {"ul", "_"},  {"ru", "_"}, {"de", "°"}, {"mu", "×"}, {"di", "÷"},  {"+-", "±"},   {"<=", "≤"},
    {">=", "≥"},       {"!=", "≠"},  {"==", "≡"}, {"~~", "≈"}, {"->", "→"}, {"<-", "←"},  {"<>", "↔"},   {"ua", "↑"},
    {"da", "↓"},       {"if", "∞"},  {"sr", "√"}, {"12", "½"}, {"14", "¼"}, {"34", "¾"},  {"sc", "§"},   {"ps", "¶"},
    {"dg", "†"},       {"dd", "‡"},  {"Po", "£"}, {"Eu", "€"}, {"ct", "¢"}, {"Ye", "¥"},  {"fm", "′"},   {"sd", "″"},
    {"Fo", "«"},       {"Fc", "»"},  {"fo", "‹"}, {"fc", "›"}, {"r!", "¡"}, {"r?", "¿"},  {"pc", "·"},   {"eq", "="},
    {"pl", "+"},       {"**", "*"},  {"*a", "α"}, {"*b", "β"}, {"*m", "μ"}, {"*p", "π"},  {"mc", "µ"},   {"*l", "λ"},
    {"*e", "ε"},       {"*D", "Δ"},  {"*S", "Σ"}, {"*W", "Ω"}, {":a", "ä"}, {":o", "ö"},  {":u", "ü"},   {":A", "Ä"},
    {":O", "Ö"},       {":U", "Ü"},  {"ss", "ß"}, {"'e", "é"}, {"'a", "á"}, {"'i", "í"},  {"'o", "ó"},   {"'u", "ú"},
    {"'E", "É"},       {"`e", "è"},  {"`a", "à"}, {"^e", "ê"}, {"^a", "â"}, {"^o", "ô"},  {"^i", "î"},   {",c", "ç"},
    {"~n", "ñ"},       {"oA", "Å"},  {"oa", "å"}, {"/o", "ø"}, {"/O", "Ø"}, {"ae", "æ"},  {"AE", "Æ"},   {"lh", "☜"},
    {"rh", "☞"},       {"OK", "✓"},  {"sq", "□"}, {"ci", "○"}, {"lz", "◊"}, {"no", "¬"},  {"hbar", "ℏ"}, {"u2026", "…"},
    {"integral", "∫"}, {"sum", "∑"}, {"mo", "∈"}, {"es", "∅"}, {"AN", "∧"}, {"OR", "∨"}};

std::string utf8(uint32_t code) {
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
  std::string out;
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 63));
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
  return out;
}

uint32_t number(std::string_view digits, int base) {
  uint32_t value = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
    if (digit >= base || value > 0x10FFFF) return 0;
    value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit);
  }
  return value;
}

// A name that no table knows is dropped, as groff does (with a warning).
std::string glyph(std::string_view name) {
  for (const Glyph& g : kGlyphs)
    if (g.name == name) return std::string(g.text);
  if (name.size() >= 5 && name[0] == 'u') return utf8(number(name.substr(1), 16));
  return {};
}

class Expander {
 public:
  Expander(std::string_view line, const RoffStrings& strings) : line_(line), strings_(strings) {}

  std::string run() {
    while (at_ < line_.size()) {
      const char c = line_[at_++];
      if (c != '\\')
        out_ += c;
      else if (at_ == line_.size() || !escape(line_[at_++]))
        break;
    }
    return std::move(out_);
  }

 private:
  // One escape whose letter is `c`; false for a comment, which ends the line.
  bool escape(char c) {
    switch (c) {
      case '"':
      case '#':
        return false;
      case 'e':
      case 'E':
      case '\\':
        out_ += '\\';
        break;
      case '-':
        out_ += '-';
        break;
      case '\'':
        out_ += "´";
        break;
      case '`':
      case '.':
        out_ += c;
        break;
      case ' ':
      case '~':
      case '0':
        out_ += ' ';
        break;
      case 't':
        out_ += '\t';
        break;
      case '(':
        out_ += glyph(take(2));
        break;
      case '[':
        out_ += glyph(until(']'));
        break;
      case '*':
        if (const auto found = strings_.find(name()); found != strings_.end()) out_ += found->second;
        break;
      case 'f':
      case 'F':
      case 'm':
      case 'M':
      case 'n':
      case 'g':
      case 'k':
      case 'Y':
      case 'V':
        name();
        break;
      case 's':
        size();
        break;
      case 'N':
        out_ += utf8(number(quoted(), 10));
        break;
      case 'C':
        out_ += glyph(quoted());
        break;
      case 'h':
      case 'v':
      case 'w':
      case 'l':
      case 'L':
      case 'D':
      case 'S':
      case 'H':
      case 'x':
      case 'b':
      case 'o':
      case 'A':
      case 'B':
      case 'R':
      case 'X':
      case 'Z':
        quoted();
        break;
      default:
        break;  // \& \) \/ \, \| \^ \: \% \! \c \d \u \r \z \{ \} and unknown letters print nothing
    }
    return true;
  }

  std::string_view take(size_t size) {
    const std::string_view part = line_.substr(at_, size);
    at_ += part.size();
    return part;
  }
  std::string_view until(char end) {
    const size_t stop = line_.find(end, at_);
    const std::string_view part = line_.substr(at_, stop == std::string_view::npos ? stop : stop - at_);
    at_ = stop == std::string_view::npos ? line_.size() : stop + 1;
    return part;
  }
  // x, (xx or [xxx]; \n also takes a sign before it.
  std::string_view name() {
    if (at_ < line_.size() && (line_[at_] == '+' || line_[at_] == '-') && line_[at_ - 1] == 'n') ++at_;
    if (at_ == line_.size()) return {};
    if (line_[at_] == '(') return ++at_, take(2);
    if (line_[at_] == '[') return ++at_, until(']');
    return take(1);
  }
  std::string_view quoted() {
    if (at_ == line_.size()) return {};
    const char quote = line_[at_++];
    return until(quote);
  }
  // \sN, \s+N, \s(NN, \s[N], \s'N'
  void size() {
    if (at_ < line_.size() && (line_[at_] == '+' || line_[at_] == '-')) ++at_;
    if (at_ == line_.size()) return;
    if (line_[at_] == '(' || line_[at_] == '[') {
      name();
    } else if (line_[at_] == '\'') {
      quoted();
    } else {
      const bool two = line_[at_] >= '1' && line_[at_] <= '3' && at_ + 1 < line_.size() && line_[at_ + 1] >= '0' &&
                       line_[at_ + 1] <= '9';
      take(two ? 2 : 1);
    }
  }

  std::string_view line_;
  const RoffStrings& strings_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string expand_roff_escapes(std::string_view line, const RoffStrings& strings) {
  return Expander(line, strings).run();
}

}  // namespace troupe::corpus
