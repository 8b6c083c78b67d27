// One word of GPT-2's pattern, found without PCRE2 where ASCII decides alone. Tested for equality with PCRE2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace troupe {

enum class AsciiClass : uint8_t { kOther, kLetter, kDigit, kSpace, kNotAscii };

inline constexpr std::array<AsciiClass, 256> kAsciiClass = [] {
  std::array<AsciiClass, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    classes[c] = c >= 0x80                            ? AsciiClass::kNotAscii
                 : letter                             ? AsciiClass::kLetter
                 : c >= '0' && c <= '9'               ? AsciiClass::kDigit
                 : c == ' ' || (c >= 0x9 && c <= 0xD) ? AsciiClass::kSpace
                                                      : AsciiClass::kOther;
  }
  return classes;
}();

// The end of the word of kGpt2Pattern that starts at `at` (< text.size()), or 0 if a byte beyond ASCII has a say in it.
inline size_t scan_gpt2_ascii_word(std::string_view text, size_t at) {
  const char* const s = text.data();
  const size_t size = text.size();
  const auto class_of = [&](size_t i) { return kAsciiClass[static_cast<uint8_t>(s[i])]; };

  size_t first = at;  // of the letters, digits or others, after an optional space
  if (s[at] == ' ') {
    ++first;
  } else if (s[at] == '\'' && at + 1 < size) {
    const char next = s[at + 1];
    if (next == 's' || next == 't' || next == 'm' || next == 'd') return at + 2;
    if (at + 2 < size) {
      const char last = s[at + 2];
      if ((next == 'r' && last == 'e') || (next == 'v' && last == 'e') || (next == 'l' && last == 'l')) return at + 3;
    }
  }
  if (first < size && class_of(first) != AsciiClass::kSpace) {
    const AsciiClass kind = class_of(first);
    if (kind == AsciiClass::kNotAscii) return 0;
    size_t end = first + 1;
    while (end < size && class_of(end) == kind) ++end;
    return end < size && class_of(end) == AsciiClass::kNotAscii ? 0 : end;
  }
  // White space: all of it at the end of the text; else all but the last, which belongs to what follows; else that one.
  size_t end = first;
  while (end < size && class_of(end) == AsciiClass::kSpace) ++end;
  if (end == size) return end;
  if (class_of(end) == AsciiClass::kNotAscii) return 0;
  return end - at > 1 ? end - 1 : end;
}

}  // namespace troupe
