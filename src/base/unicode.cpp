#include "base/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "base/utf8.h"

namespace troupe::unicode {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2, kIota = 0x3B9, kIotaBelow = 0x345,
                   kDottedCapitalI = 0x130, kSmallNAfterApostrophe = 0x149;

int32_t number(char32_t c) { return static_cast<int32_t>(c); }
char32_t small(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(number(c))); }
char32_t capital(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(number(c))); }
char32_t title(char32_t c) { return static_cast<char32_t>(utf8proc_totitle(number(c))); }

// What comparisons without regard to case put in its place: of a ligature its letters, small.
std::span<const int32_t> folded(char32_t c, std::span<int32_t> room) {
  int boundary = 0;
  const auto count = utf8proc_decompose_char(number(c), room.data(), static_cast<utf8proc_ssize_t>(room.size()),
                                             UTF8PROC_CASEFOLD, &boundary);
  return room.first(static_cast<size_t>(std::max<utf8proc_ssize_t>(count, 0)));
}

void append_upper(char32_t c, std::string& out) {
  int32_t room[8];
  const auto letters = folded(c, room);
  if (letters.size() < 2 || utf8proc_category(number(c)) == UTF8PROC_CATEGORY_LU) return append_utf8(capital(c), out);
  for (const int32_t letter : letters) append_utf8(capital(static_cast<char32_t>(letter)), out);
}

void append_title(char32_t c, std::string& out) {
  int32_t room[8];
  const auto letters = folded(c, room);
  if (letters.size() < 2 || utf8proc_category(number(title(c))) == UTF8PROC_CATEGORY_LT ||
      utf8proc_category(number(c)) == UTF8PROC_CATEGORY_LU)
    return append_utf8(title(c), out);
  if (c == kSmallNAfterApostrophe) return append_upper(c, out);
  append_utf8(title(static_cast<char32_t>(letters[0])), out);
  for (const int32_t letter : letters.subspan(1))
    append_utf8(static_cast<char32_t>(letter) == kIota ? kIotaBelow : static_cast<char32_t>(letter), out);
}

// The property Cased of Unicode (letters with cases, and signs made of such letters) but for modifier letters, which
// are Case_Ignorable too, and looked at first.
bool is_cased(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  switch (utf8proc_category(number(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      return small(c) != c || capital(c) != c || c == 0xAA || c == 0xBA || in(0x1F130, 0x1F149) ||
             in(0x1F150, 0x1F169) || in(0x1F170, 0x1F189);
  }
}

// The property Case_Ignorable: marks, format characters, modifiers, and what stands within words.
bool is_case_ignorable(char32_t c) {
  constexpr char32_t kWithinWords[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                       0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  switch (utf8proc_category(number(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return std::find(std::begin(kWithinWords), std::end(kWithinWords), c) != std::end(kWithinWords);
  }
}

// Final_Sigma of SpecialCasing.txt.
bool ends_word(std::span<const std::string_view> all, size_t at) {
  size_t before = at, after = at + 1;
  while (before > 0 && is_case_ignorable(code_point(all[before - 1]))) --before;
  while (after < all.size() && is_case_ignorable(code_point(all[after]))) ++after;
  return before > 0 && is_cased(code_point(all[before - 1])) &&
         !(after < all.size() && is_cased(code_point(all[after])));
}

void append_lower(std::span<const std::string_view> all, size_t at, std::string& out) {
  const char32_t c = code_point(all[at]);
  if (c == kDottedCapitalI)
    out += "i\u0307";
  else
    append_utf8(c == kCapitalSigma && ends_word(all, at) ? kFinalSigma : small(c), out);
}

}  // namespace

bool is_letter(char32_t c) {
  const utf8proc_category_t category = utf8proc_category(number(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

std::string lower(std::string_view text) {
  const std::vector<std::string_view> all = characters(text);
  std::string out;
  for (size_t i = 0; i < all.size(); ++i) append_lower(all, i, out);
  return out;
}

std::string upper(std::string_view text) {
  std::string out;
  for (const std::string_view character : characters(text)) append_upper(code_point(character), out);
  return out;
}

std::string capitalized(std::string_view text) {
  const std::vector<std::string_view> all = characters(text);
  std::string out;
  if (!all.empty()) append_title(code_point(all[0]), out);
  for (size_t i = 1; i < all.size(); ++i) append_lower(all, i, out);
  return out;
}

namespace {

// In a composed form of Unicode.
std::string composed_form(std::string_view text, int more) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | more));
  if (size < 0) throw std::bad_alloc();  // the text is well-formed
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(composed, std::free);
  return std::string(reinterpret_cast<const char*>(composed), static_cast<size_t>(size));
}

}  // namespace

std::string nfc(std::string_view text) { return composed_form(text, 0); }
std::string nfkc(std::string_view text) { return composed_form(text, UTF8PROC_COMPAT); }

size_t first_grapheme(std::string_view text) {
  std::string_view character = first_character(text);
  size_t bytes = character.size();
  char32_t before = code_point(character);
  int32_t state = 0;
  while (bytes < text.size()) {
    character = first_character(text.substr(bytes));
    const char32_t next = code_point(character);
    if (utf8proc_grapheme_break_stateful(number(before), number(next), &state)) break;
    bytes += character.size();
    before = next;
  }
  return bytes;
}

size_t columns(std::string_view text) {
  size_t count = 0;
  for (const std::string_view character : characters(text))
    count += static_cast<size_t>(std::max(0, utf8proc_charwidth(number(code_point(character)))));
  return count;
}

}  // namespace troupe::unicode
