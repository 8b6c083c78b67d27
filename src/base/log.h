// The log: lines for people on stderr. stdout belongs to results.
// TROUPE_LOG=dispatch (or a comma-separated list of topics) turns on topic lines, e.g. which kernel was chosen and why.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace troupe::log {

enum class Level { kInfo, kWarning, kError };

void write(Level level, std::string_view text);  // thread-safe; one line
bool topic_enabled(std::string_view topic);      // from TROUPE_LOG

template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void topic(std::string_view name, fmt::format_string<Args...> format, Args&&... args) {
  if (topic_enabled(name)) write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace troupe::log
