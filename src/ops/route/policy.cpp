#include "ops/route/policy.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "ops/route/task.h"

namespace troupe {

std::span<const RouterPolicy> router_policies() {
  const auto top_k = [](const MoeConfig& config) { return config.top_k; };
  const auto rows = [](const MoeConfig& config, int64_t tokens) { return tokens * config.top_k; };
  static const std::array policies = {
      RouterPolicy{name_of_enum(RouterKind::kTopK), true, top_k, rows},
      RouterPolicy{name_of_enum(RouterKind::kHash), true, top_k, rows},
      RouterPolicy{name_of_enum(RouterKind::kExpertChoice), false,
                   [](const MoeConfig& config) { return config.num_experts; },
                   [](const MoeConfig& config, int64_t tokens) {
                     return config.num_experts * tokens_of_an_expert(config, tokens);
                   }}};
  return policies;
}

const RouterPolicy& router_policy(const MoeConfig& config) {
  return router_policies()[static_cast<size_t>(config.router)];
}

void require_causal(const MoeConfig& config, std::string_view use) {
  if (const RouterPolicy& policy = router_policy(config); !policy.causal)
    fail(ErrorCode::kUsage, "model.moe: {}: expected a causal routing policy, got {} (experts depend on later tokens)",
         use, policy.name);
  if (config.chance_in_eval)
    fail(ErrorCode::kUsage,
         "model.moe: {}: expected chance_in_eval false, got true (second experts depend on a token's place in the batch)",
         use);
}

}  // namespace troupe
