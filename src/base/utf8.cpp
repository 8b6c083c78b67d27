#include "base/utf8.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>

namespace troupe {
namespace {

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

size_t utf8_sequence_bytes(std::string_view text) {
  const auto at = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](size_t i) { return i < text.size() && continues_character(text[i]); };
  const unsigned lead = at(0), second = at(1);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return second >= low && second <= high && continues(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

size_t utf8_whole_bytes(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t start = text.size() - back;
    const auto byte = static_cast<unsigned char>(text[start]);
    if (continues_character(text[start])) continue;
    const size_t length = byte < 0xC2 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : byte < 0xF5 ? 4 : 1;
    return length > back ? start : text.size();
  }
  return text.size();
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::nullopt;
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_sequence_bytes(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

std::string_view first_character(std::string_view text) {
  return text.substr(0, std::max<size_t>(1, utf8_sequence_bytes(text)));
}

std::string_view last_character(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && continues_character(text[start])) --start;
  const std::string_view last = text.substr(start);
  return utf8_sequence_bytes(last) == last.size() ? last : text.substr(text.size() - 1);
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> list;
  for (; !text.empty(); text.remove_prefix(list.back().size())) list.push_back(first_character(text));
  return list;
}

size_t count_characters(std::string_view text) {
  return text.size() - static_cast<size_t>(std::count_if(text.begin(), text.end(), continues_character));
}

char32_t code_point(std::string_view character) {
  const size_t bytes = character.size();
  if (bytes == 1) return static_cast<unsigned char>(character[0]) < 0x80 ? static_cast<char32_t>(character[0]) : 0xFFFD;
  char32_t code = static_cast<unsigned char>(character[0]) & (0xFF >> (bytes + 1));
  for (const char byte : character.substr(1)) code = code << 6 | (static_cast<unsigned char>(byte) & 0x3F);
  return code;
}

void append_utf8(char32_t code, std::string& out) {
  const auto byte = [&](char32_t value) { out += static_cast<char>(value); };
  const auto rest = [&](int shift) { byte(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | code >> 6), rest(0);
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12), rest(6), rest(0);
  } else {
    byte(0xF0 | code >> 18), rest(12), rest(6), rest(0);
  }
}

namespace {

std::string shown_without(std::string_view text, std::string_view kept) {
  std::string shown;
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text[0]);
    const size_t length = utf8_sequence_bytes(text);
    const bool control = (byte < 0x20 && kept.find(text[0]) == kept.npos) || byte == 0x7f;
    const bool control_8bit = length == 2 && byte == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    if (length == 0 || control)
      shown += fmt::format("\\x{:02x}", byte);
    else if (control_8bit)
      shown += fmt::format("\\xc2\\x{:02x}", static_cast<unsigned char>(text[1]));
    else
      shown += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return shown;
}

}  // namespace

std::string visible_text(std::string_view text) { return shown_without(text, "\n\t"); }
std::string visible_line(std::string_view text) { return shown_without(text, ""); }

}  // namespace troupe
