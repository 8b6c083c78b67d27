#include "eval/capacity.h"

#include <charconv>

#include "base/error.h"

namespace troupe {

CapacityRule parse_capacity(const std::string& text) {
  if (text == "dropless") return {CapacityRule::kDropless};
  if (text == "train") return {CapacityRule::kTraining};
  if (text == "configured") return {CapacityRule::kConfigured};
  double fraction = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, fraction);
  if (error != std::errc() || stop != end || !(fraction > 0.0 && fraction <= 1.0))
    fail(ErrorCode::kUsage, "--capacity: expected dropless, train, configured or a fraction in (0, 1], got {}", text);
  return {CapacityRule::kFraction, fraction};
}

std::string to_string(const CapacityRule& rule) {
  switch (rule.kind) {
    case CapacityRule::kDropless:
      return "dropless";
    case CapacityRule::kTraining:
      return "train";
    case CapacityRule::kFraction:
      return fmt::format("{}", rule.fraction);
    case CapacityRule::kConfigured:
      break;
  }
  return "configured";
}

}  // namespace troupe
