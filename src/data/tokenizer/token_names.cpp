#include "data/tokenizer/token_names.h"

#include <algorithm>
#include <charconv>

namespace troupe {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

// Of "<0x0A>" the byte.
void take_byte(std::string& name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return;
  uint8_t byte = 0;
  if (std::from_chars(&name[3], &name[5], byte, 16).ptr == &name[5]) name.assign(1, static_cast<char>(byte));
}

}  // namespace

std::string decoded_name(std::span<const TokenDecoder> decoders, std::string_view name) {
  std::string text(name);
  for (const TokenDecoder& decoder : decoders) {
    switch (decoder.kind) {
      case TokenDecoder::Kind::kReplace:
        replace_all(text, decoder.from, decoder.to);
        break;
      case TokenDecoder::Kind::kMetaspace:
        replace_all(text, kMetaspace, " ");
        break;
      case TokenDecoder::Kind::kByteFallback:
        take_byte(text);
        break;
      case TokenDecoder::Kind::kByteLevel:
      case TokenDecoder::Kind::kFuse:
      case TokenDecoder::Kind::kStrip:
        break;
    }
  }
  return text;
}

std::string without_opening(std::span<const TokenDecoder> decoders, std::string bytes, size_t first_bytes) {
  for (const TokenDecoder& decoder : decoders) {
    if (decoder.kind == TokenDecoder::Kind::kMetaspace && decoder.start > 0) {
      const auto first_end = bytes.begin() + static_cast<std::ptrdiff_t>(first_bytes);
      bytes.erase(std::remove(bytes.begin(), first_end, ' '), first_end);
    } else if (decoder.kind == TokenDecoder::Kind::kStrip) {
      for (int64_t i = 0; i < decoder.start && bytes.starts_with(decoder.from); ++i)
        bytes.erase(0, decoder.from.size());
    }
  }
  return bytes;
}

}  // namespace troupe
