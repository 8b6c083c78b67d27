// Unicode's White_Space property (PropList.txt), which \s means in tokenizer patterns. PCRE2's own \s adds U+180E, and
// Python's str.isspace() adds U+001C..U+001F.
#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe {

struct CodePointRange {
  char32_t first, last;
};
inline constexpr CodePointRange kWhiteSpace[] = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                                 {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                                 {0x205F, 0x205F}, {0x3000, 0x3000}};

// The property as members of a PCRE2 character class, without brackets.
inline std::string white_space_class() {
  std::string members;
  for (const auto [first, last] : kWhiteSpace)
    members += first == last
                   ? fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(first))
                   : fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<uint32_t>(first), static_cast<uint32_t>(last));
  return members;
}

// Bytes of White_Space at the start and at the end of well-formed UTF-8 text.
size_t leading_white_space(std::string_view text);
size_t trailing_white_space(std::string_view text);

}  // namespace troupe
