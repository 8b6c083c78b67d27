#include "data/tokenizer/white_space.h"

#include "base/utf8.h"

namespace troupe {
namespace {

// Bytes of the white-space character at the start of `text`, or 0.
size_t white_space_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const size_t bytes = utf8_sequence_bytes(text);
  if (bytes == 0) return 0;
  char32_t code = static_cast<uint8_t>(text[0]) & (bytes == 1 ? 0x7F : 0xFF >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) code = code << 6 | (static_cast<uint8_t>(text[i]) & 0x3F);
  for (const auto [first, last] : kWhiteSpace)
    if (code >= first && code <= last) return bytes;
  return 0;
}

}  // namespace

size_t leading_white_space(std::string_view text) {
  size_t end = 0;
  while (const size_t bytes = white_space_bytes(text.substr(end))) end += bytes;
  return end;
}

size_t trailing_white_space(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t start = begin - 1;
    while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    const std::string_view last = text.substr(start, begin - start);
    if (white_space_bytes(last) != last.size()) break;
    begin = start;
  }
  return text.size() - begin;
}

}  // namespace troupe
