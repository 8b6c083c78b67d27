#include "ops/route/capacity.h"

#include <cmath>
#include <limits>

namespace troupe {

int64_t expert_capacity(const MoeConfig& config, const CapacityRule& rule, bool training, int64_t group_tokens) {
  constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
  const auto by_training_rule = [&] {
    const int64_t even = (group_tokens + config.num_experts - 1) / config.num_experts;
    return config.top_k == 1 ? static_cast<int64_t>(config.capacity_factor * static_cast<double>(even))
                             : config.top_k * even;
  };
  const auto by_fraction = [&](double fraction) {
    return fraction <= 0 ? by_training_rule()
                         : static_cast<int64_t>(std::ceil(fraction * static_cast<double>(group_tokens)));
  };
  switch (rule.kind) {
    case CapacityRule::kDropless:
      return kUnlimited;
    case CapacityRule::kTraining:
      return by_training_rule();
    case CapacityRule::kFraction:
      return by_fraction(rule.fraction);
    case CapacityRule::kConfigured:
      break;
  }
  if (config.capacity == Capacity::kDropless) return kUnlimited;
  return training ? by_training_rule() : by_fraction(config.eval_capacity_fraction);
}

}  // namespace troupe
