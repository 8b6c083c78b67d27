#include "base/quantity.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace troupe {
namespace {

constexpr const char* kNone = "–";
constexpr const char* kCounts[] = {"", "k", "M", "B", "T"};
constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z"};

struct Scaled {
  double value;
  size_t unit;
};

// `value` by the largest power of a thousand that leaves at least 1 when it is written with three digits.
Scaled scaled(double value, size_t units) {
  size_t unit = 0;
  while (unit + 1 < units && std::abs(value) >= 999.5) value /= 1e3, ++unit;
  return {value, unit};
}

std::string three_digits(const Scaled& scaled) {
  const double size = std::abs(scaled.value);
  const bool whole = scaled.unit == 0 && scaled.value == std::round(scaled.value);
  return fmt::format("{:.{}f}", scaled.value, whole || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

}  // namespace

std::string number_text(double value, int decimals) {
  if (!std::isfinite(value)) return kNone;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.starts_with('-') && text.find_first_of("123456789") == text.npos) text.erase(0, 1);  // no -0.00
  return text;
}

std::string difference_text(double value, int decimals) {
  const std::string text = number_text(value, decimals);
  return value > 0 && std::isfinite(value) ? "+" + text : text;
}

std::string interval_text(double value, double half, int decimals) {
  const std::string text = number_text(value, decimals);
  return std::isfinite(value) && std::isfinite(half) ? text + " ± " + number_text(half, decimals) : text;
}

std::string percent_text(double share, int decimals) {
  return std::isfinite(share) ? number_text(100 * share, decimals) + " %" : kNone;
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return kNone;
  const Scaled of = scaled(value, std::size(kCounts));
  return three_digits(of) + kCounts[of.unit];
}

std::string short_bytes(double value) {
  if (!std::isfinite(value)) return kNone;
  const Scaled of = scaled(value, std::size(kPrefixes));
  return fmt::format("{} {}B", three_digits(of), kPrefixes[of.unit]);
}

std::string short_flops(double value) {
  if (!std::isfinite(value)) return kNone;
  const Scaled of = scaled(value, std::size(kPrefixes));
  return fmt::format("{} {}FLOPs", three_digits(of), kPrefixes[of.unit]);
}

std::string short_duration(double seconds) {
  if (!std::isfinite(seconds)) return kNone;
  const auto s = static_cast<long long>(std::llround(seconds));
  if (s < 120) return fmt::format("{} s", s);
  if (s < 7200) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string counted(int64_t count, std::string_view noun, std::string_view plural) {
  if (count == 1) return fmt::format("1 {}", noun);
  return plural.empty() ? fmt::format("{} {}s", count, noun) : fmt::format("{} {}", count, plural);
}

std::string short_counted(double count, std::string_view noun) {
  return fmt::format("{} {}{}", short_number(count), noun, count == 1.0 ? "" : "s");
}

Unit flops_unit(double most) {
  const size_t unit = scaled(most, std::size(kPrefixes)).unit;
  return {std::pow(1e3, static_cast<double>(unit)), fmt::format("{}FLOPs", kPrefixes[unit])};
}

Unit count_unit(double most) {
  const size_t unit = scaled(most, std::size(kCounts)).unit;
  return {std::pow(1e3, static_cast<double>(unit)), kCounts[unit]};
}

}  // namespace troupe
