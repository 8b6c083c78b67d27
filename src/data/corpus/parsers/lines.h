// Small helpers that parsers share: lines, and text gathered line by line.
#pragma once

#include <string>
#include <string_view>

namespace troupe::corpus {

// Calls body(line) for every line of `text`, without its LF or CRLF.
template <class Body>
void for_each_line(std::string_view text, const Body& body) {
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    if (line.ends_with('\r')) line.remove_suffix(1);
    body(line);
    if (newline == std::string_view::npos) return;
    text.remove_prefix(newline + 1);
  }
}

inline bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r\f\v") == std::string_view::npos; }

inline std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n\f\v");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n\f\v") - first + 1);
}

}  // namespace troupe::corpus
