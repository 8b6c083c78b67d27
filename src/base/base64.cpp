#include "base/base64.h"

#include <cstdint>

namespace troupe {
namespace {

constexpr std::string_view kDigits64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = bytes.size() - at < 3 ? bytes.size() - at : 3;
    uint32_t three = 0;
    for (size_t i = 0; i < 3; ++i) three = three << 8 | (i < count ? static_cast<uint8_t>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) text += i <= count ? kDigits64[three >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t at = 0; at < text.size(); at += 4) {
    uint32_t three = 0;
    size_t digits = 0;
    while (digits < 4 && text[at + digits] != '=') {
      const size_t digit = kDigits64.find(text[at + digits++]);
      if (digit == kDigits64.npos) return std::nullopt;
      three = three << 6 | static_cast<uint32_t>(digit);
    }
    three <<= 6 * (4 - digits);
    for (size_t i = 0; i + 1 < digits; ++i) bytes += static_cast<char>(three >> (16 - 8 * i) & 0xFF);
  }
  if (to_base64(bytes) != text) return std::nullopt;  // padding in its middle, bits that are none
  return bytes;
}

}  // namespace troupe
