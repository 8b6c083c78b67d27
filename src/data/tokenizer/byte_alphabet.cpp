#include "data/tokenizer/byte_alphabet.h"

namespace troupe {
namespace {

constexpr bool printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<uint16_t, 256> character{};  // code point by byte, below U+0144
  std::array<int16_t, 0x144> byte{};      // by code point, -1 where there is none
  std::array<uint8_t, 256> order{};

  constexpr Alphabet() {
    for (int16_t& b : byte) b = -1;
    uint16_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      character[b] = printable(b) ? static_cast<uint16_t>(b) : next++;
      byte[character[b]] = static_cast<int16_t>(b);
    }
    int position = 0;
    for (const int16_t b : byte)
      if (b >= 0) order[position++] = static_cast<uint8_t>(b);
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

const std::array<uint8_t, 256>& byte_alphabet_order() { return kAlphabet.order; }

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const uint16_t code = kAlphabet.character[static_cast<uint8_t>(c)];
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else {
      text += static_cast<char>(0xC0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
  }
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t code = static_cast<uint8_t>(text[i]);
    if (code >= 0x80) {  // every character of the alphabet has at most two bytes
      if ((code & 0xE0) != 0xC0 || i + 1 == text.size()) return std::nullopt;
      code = (code & 0x1F) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3F);
    }
    if (code >= kAlphabet.byte.size() || kAlphabet.byte[code] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[code]);
  }
  return bytes;
}

}  // namespace troupe
