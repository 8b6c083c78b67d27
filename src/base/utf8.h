// Is it UTF-8, and if not, where does it go wrong? Where may a stream of it be cut?
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

// Offset of the first byte at which `text` stops being valid UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong
// forms), or nothing if all of it is valid.
[[nodiscard]] std::optional<size_t> find_invalid_utf8(std::string_view text);

// Bytes of the well-formed sequence at the start of `text` (not empty): 1 to 4, or 0 if there is none.
[[nodiscard]] size_t utf8_sequence_bytes(std::string_view text);

// Bytes of `text` without the sequence at its end that more bytes may complete: what can be shown before they come.
// Bytes that no byte after them makes valid count as whole.
[[nodiscard]] size_t utf8_whole_bytes(std::string_view text);

// The text as a terminal can show it: bytes that are not UTF-8, and control characters other than the ends of lines and
// tabs, as "\xff". For paths and what else comes from outside, in messages and tables.
[[nodiscard]] std::string visible_text(std::string_view text);

}  // namespace troupe
