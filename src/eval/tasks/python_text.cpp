#include "eval/tasks/python_text.h"

#include <algorithm>
#include <clocale>
#include <cwctype>
#include <span>

#include "base/utf8.h"
#include "data/tokenizer/white_space.h"

namespace troupe::python {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2;

struct SpecialCasing {
  char32_t character;
  const char *upper, *title;
};
constexpr SpecialCasing kSpecialCasing[] = {
#include "eval/tasks/special_casing.inc"
};

// Null where the system lacks it: then ASCII alone has cases.
locale_t utf8_locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

char32_t simple(char32_t c, wint_t (*map)(wint_t, locale_t), int (*ascii)(int)) {
  if (const locale_t locale = utf8_locale()) return static_cast<char32_t>(map(static_cast<wint_t>(c), locale));
  return c < 0x80 ? static_cast<char32_t>(ascii(static_cast<int>(c))) : c;
}
char32_t simple_lower(char32_t c) { return simple(c, towlower_l, std::tolower); }
char32_t simple_upper(char32_t c) { return simple(c, towupper_l, std::toupper); }

void append(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6), out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12), out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18), out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F)), out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

void append_special(char32_t c, const char* SpecialCasing::* which, std::string& out) {
  const auto found = std::lower_bound(std::begin(kSpecialCasing), std::end(kSpecialCasing), c,
                                      [](const SpecialCasing& row, char32_t value) { return row.character < value; });
  const bool georgian = c >= 0x10D0 && c <= 0x10FF && which == &SpecialCasing::title;
  if (found != std::end(kSpecialCasing) && found->character == c)
    out += (*found).*which;
  else
    append(georgian ? c : simple_upper(c), out);
}

bool is_cased(char32_t c) { return simple_lower(c) != c || simple_upper(c) != c; }
// Unicode's Case_Ignorable as far as it occurs in words: apostrophes, dots, modifiers, combining marks.
bool is_case_ignorable(char32_t c) {
  constexpr char32_t kSingle[] = {'\'', '.', ':', '^', '`', 0xA8, 0xAD, 0xAF, 0xB4, 0xB7, 0xB8, 0x2018, 0x2019, 0x2024,
                                  0x2027};
  return std::find(std::begin(kSingle), std::end(kSingle), c) != std::end(kSingle) || (c >= 0x2B0 && c <= 0x36F);
}

// A capital sigma at the end of a word is another letter when small.
bool ends_word(std::span<const std::string_view> all, size_t at) {
  size_t before = at, after = at + 1;
  while (before > 0 && is_case_ignorable(code_point(all[before - 1]))) --before;
  while (after < all.size() && is_case_ignorable(code_point(all[after]))) ++after;
  return before > 0 && is_cased(code_point(all[before - 1])) &&
         !(after < all.size() && is_cased(code_point(all[after])));
}

void append_lower(std::span<const std::string_view> all, size_t at, std::string& out) {
  const char32_t c = code_point(all[at]);
  if (c == 0x130)
    out += "i\u0307";
  else
    append(c == kCapitalSigma && ends_word(all, at) ? kFinalSigma : simple_lower(c), out);
}

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> list;
  for (size_t i = 0; i < text.size(); i += list.back().size())
    list.push_back(text.substr(i, std::max<size_t>(1, utf8_sequence_bytes(text.substr(i)))));
  return list;
}

char32_t code_point(std::string_view character) {
  const size_t bytes = character.size();
  char32_t code = static_cast<uint8_t>(character[0]) & (bytes == 1 ? 0xFF : 0xFF >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) code = code << 6 | (static_cast<uint8_t>(character[i]) & 0x3F);
  return code;
}

bool is_space(char32_t c) {
  return (c >= 0x1C && c <= 0x1F) || std::any_of(std::begin(kWhiteSpace), std::end(kWhiteSpace), [&](auto range) {
           return c >= range.first && c <= range.last;
         });
}

bool is_letter(char32_t c) {
  const locale_t locale = utf8_locale();
  return locale ? iswalpha_l(static_cast<wint_t>(c), locale) != 0 && iswdigit_l(static_cast<wint_t>(c), locale) == 0
                : c < 0x80 && std::isalpha(static_cast<int>(c)) != 0;
}

std::string_view rstrip(std::string_view text) {
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    if (!is_space(code_point(text.substr(start)))) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  text = rstrip(text);
  while (!text.empty()) {
    const std::string_view first = text.substr(0, std::max<size_t>(1, utf8_sequence_bytes(text)));
    if (!is_space(code_point(first))) break;
    text.remove_prefix(first.size());
  }
  return text;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const std::string_view character : characters(text)) {
    const bool space = is_space(code_point(character));
    if (!space && !inside) words.emplace_back();
    if (!space) words.back() += character;
    inside = !space;
  }
  return words;
}

std::string lower(std::string_view text) {
  const std::vector<std::string_view> all = characters(text);
  std::string out;
  for (size_t i = 0; i < all.size(); ++i) append_lower(all, i, out);
  return out;
}

std::string upper(std::string_view text) {
  std::string out;
  for (const std::string_view character : characters(text))
    append_special(code_point(character), &SpecialCasing::upper, out);
  return out;
}

std::string capitalize(std::string_view text) {
  const std::vector<std::string_view> all = characters(text);
  std::string out;
  if (!all.empty()) append_special(code_point(all[0]), &SpecialCasing::title, out);
  for (size_t i = 1; i < all.size(); ++i) append_lower(all, i, out);
  return out;
}

}  // namespace troupe::python
