// Results on stdout: one JSON object a line for programs, text and aligned tables for people. All of it throws if
// stdout cannot be written.
#pragma once

#include <fmt/core.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe::cli {

void print_bytes(std::string_view bytes);  // as they are, without waiting for more
void flush_output();                       // what was printed so far has reached the system

// Text for people: what a terminal cannot show is escaped (visible_text()).
void print_text(std::string_view text);
template <class... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
  print_text(fmt::format(format, std::forward<Args>(args)...));
}

// Invalid UTF-8 becomes U+FFFD.
void print_json(const nlohmann::ordered_json& object);

// Columns as wide as their widest cell, two spaces apart; the first is aligned to the left, the others to the right.
// The first row is the header, with a rule below.
void print_table(const std::vector<std::vector<std::string>>& rows);

// From here on nothing is written: another process of the same command does.
void silence_output();

std::string grouped(long long value);  // 14,605,713,408

}  // namespace troupe::cli
