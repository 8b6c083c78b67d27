// GPT-2's byte alphabet: files write a token as text in which every byte is one printable character. Bytes that
// are printable in Latin-1 stand for themselves, the other 68 are U+0100 and up in order of value; so a space is
// U+0120.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

// The 256 bytes in the order of their characters: '!'..'~', 0xA1..0xAC, 0xAE..0xFF, then the others by value. GPT-2
// numbers its byte tokens in this order.
const std::array<uint8_t, 256>& byte_alphabet_order();

std::string to_byte_alphabet(std::string_view bytes);
// Nothing if a character is outside the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace troupe
