#include "ops/route/policy.h"

#include <array>

#include "base/error.h"

namespace troupe {

std::span<const RouterPolicy> router_policies() {
  static constexpr std::array policies = {
      RouterPolicy{kTopK, true, [](const MoeConfig& config, int64_t tokens) { return tokens * config.top_k; }}};
  return policies;
}

const RouterPolicy& router_policy(const MoeConfig&) { return router_policies().front(); }

void require_causal(const RouterPolicy& policy, std::string_view use) {
  if (!policy.causal)
    fail(ErrorCode::kUsage, "model.moe: {}: expected a causal routing policy, got {} (experts depend on later tokens)",
         use, policy.name);
}

}  // namespace troupe
