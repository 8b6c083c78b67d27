#include "cli/validators.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

namespace troupe::cli {
namespace {

// All of the text as a number, or nothing.
template <class T>
std::optional<T> parsed(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> parsed_whole(const std::string& text) {
  if (const auto whole = parsed<int64_t>(text)) return whole;
  const auto value = parsed<double>(text);
  constexpr double kExact = 9007199254740992.0;  // 2^53: a double tells whole numbers apart up to here
  if (!value || std::abs(*value) > kExact || *value != std::floor(*value)) return std::nullopt;
  return static_cast<int64_t>(*value);
}

std::string refusal(const std::string& expected, const std::string& got) {
  return fmt::format("expected {}, got {}", expected, got.empty() ? "nothing" : got);
}

}  // namespace

CLI::Validator whole_number(int64_t least, int64_t most) {
  const std::string expected = fmt::format("a whole number from {} to {}", least, most);
  const auto apply = [=](std::string& text) {
    const auto value = parsed_whole(text);
    if (!value || *value < least || *value > most) return refusal(expected, text);
    text = fmt::format("{}", *value);
    return std::string();
  };
  return {apply, least == 0 ? "NONNEGATIVE" : least == 1 ? "POSITIVE" : fmt::format("{} to {}", least, most)};
}

CLI::Validator number(double least, double most) {
  const std::string expected = fmt::format("a number from {} to {}", least, most);
  const auto apply = [=](std::string& text) {
    const auto value = parsed<double>(text);
    return value && *value >= least && *value <= most ? std::string() : refusal(expected, text);
  };
  return {apply, fmt::format("{} to {}", least, most)};
}

CLI::Validator positive_number(double most) {
  const std::string expected = fmt::format("a number above 0 and at most {}", most);
  const auto apply = [=](std::string& text) {
    const auto value = parsed<double>(text);
    return value && *value > 0.0 && *value <= most ? std::string() : refusal(expected, text);
  };
  return {apply, "POSITIVE"};
}

}  // namespace troupe::cli
