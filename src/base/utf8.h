// Is it UTF-8, and if not, where does it go wrong?
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace troupe {

// Offset of the first byte at which `text` stops being valid UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong
// forms), or nothing if all of it is valid.
[[nodiscard]] std::optional<size_t> find_invalid_utf8(std::string_view text);

// Bytes of the well-formed sequence at the start of `text` (not empty): 1 to 4, or 0 if there is none.
[[nodiscard]] size_t utf8_sequence_bytes(std::string_view text);

}  // namespace troupe
