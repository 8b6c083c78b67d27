// UTF-8: is it, and if not, where does it go wrong? Where may a stream of it be cut? Which characters are in it?
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

// Offset of the first byte at which `text` stops being valid UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong
// forms), or nothing if all of it is valid.
[[nodiscard]] std::optional<size_t> find_invalid_utf8(std::string_view text);

// Bytes of the well-formed sequence at the start of `text` (not empty): 1 to 4, or 0 if there is none.
[[nodiscard]] size_t utf8_sequence_bytes(std::string_view text);

// Bytes of `text` without the sequence at its end that more bytes may complete: what can be shown before they come.
// Bytes that no byte after them makes valid count as whole.
[[nodiscard]] size_t utf8_whole_bytes(std::string_view text);

// The characters (code points) of `text`, each as its bytes there; `text` must outlive them. A byte that belongs to no
// well-formed sequence is one.
[[nodiscard]] std::vector<std::string_view> characters(std::string_view text);
std::vector<std::string_view> characters(std::string&& text) = delete;
[[nodiscard]] std::string_view first_character(std::string_view text);  // text is not empty
[[nodiscard]] std::string_view last_character(std::string_view text);   // likewise
[[nodiscard]] size_t count_characters(std::string_view text);           // of well-formed text
[[nodiscard]] char32_t code_point(std::string_view character);          // U+FFFD for a byte that is none
void append_utf8(char32_t code, std::string& out);

// The text as a terminal can show it: bytes that are not UTF-8, and control characters (U+0080 to U+009F, too) other
// than the ends of lines and tabs, as "\xff". For paths and what else comes from outside, in messages.
[[nodiscard]] std::string visible_text(std::string_view text);
// The same without ends of lines and tabs: what stands in a cell of a table or beside a progress bar.
[[nodiscard]] std::string visible_line(std::string_view text);

}  // namespace troupe
