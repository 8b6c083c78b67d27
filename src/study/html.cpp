#include "study/html.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <iterator>

#include "base/utf8.h"

namespace troupe::html {

std::string escaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = utf8_sequence_bytes(text.substr(i));
    if (length == 0 || (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
      out += "\xef\xbf\xbd";
      ++i;
      continue;
    }
    switch (byte) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += text.substr(i, length);
    }
    i += length;
  }
  return out;
}

std::string number(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "–";
}

// 1.23M, 45.6B.
std::string scaled(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "B", "T"};
  size_t unit = 0;
  while (unit + 1 < std::size(kUnits) && std::abs(value) >= 999.5) value /= 1e3, ++unit;
  return fmt::format("{:.{}f}{}", value, unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, kUnits[unit]);
}

std::string flops(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P", "E", "Z"};
  size_t unit = 0;
  while (unit + 1 < std::size(kUnits) && value >= 999.5) value /= 1e3, ++unit;
  return fmt::format("{:.{}f} {}FLOPs", value, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, kUnits[unit]);
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "–";
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 120) return fmt::format("{} s", s);
  if (s < 7200) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string percent(double share, int decimals) {
  return std::isfinite(share) ? fmt::format("{:.{}f} %", 100 * share, decimals) : "–";
}

}  // namespace troupe::html
