#include "data/tokenizer/byte_alphabet.h"

#include "base/utf8.h"

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
  for (const char c : bytes) append_utf8(kAlphabet.character[static_cast<uint8_t>(c)], text);
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const std::string_view character : characters(text)) {
    const char32_t code = code_point(character);
    if (code >= kAlphabet.byte.size() || kAlphabet.byte[code] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[code]);
  }
  return bytes;
}

}  // namespace troupe
