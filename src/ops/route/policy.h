// Who chooses whom: a routing policy is a row of router_policies(). To add one: a file beside top_k.cpp, a row in
// route.cpp, a reference in kernels/ref/route.h, and the key of the configuration that chooses it.
#pragma once

#include <span>
#include <string_view>

#include "base/error.h"
#include "ops/route/router_stats.h"
#include "ops/route/task.h"

namespace troupe {

template <class real>
struct RouterPolicy {
  std::string_view name;
  bool causal;  // with room for every choice, a token's rows and weights depend on that token alone
  int64_t (*max_rows)(const MoeConfig&, int64_t num_tokens);
  // Fills `routing`, and in `stats` what was chosen and dropped, and the entropy.
  void (*select)(const RouteTask&, Matrix<const real> logits_TE, Routing<real>&, RouterStats&);
  // dlogits_TE (overwritten) from dweight_R, the gradient by the weight of a row, and from the gradient by the
  // probabilities of group g, dprob_GE[g], the same for all its tokens.
  void (*backward)(const RouteTask&, const Routing<real>&, std::span<const real> dweight_R,
                   Matrix<const real> dprob_GE, Matrix<real> dlogits_TE);
};

template <class real>
std::span<const RouterPolicy<real>> router_policies();

// The policy of a configuration; there is one so far.
template <class real>
const RouterPolicy<real>& router_policy(const MoeConfig& config);

// For what runs tokens one after the other: throws kUsage, by name, if a token's experts depend on later tokens.
template <class real>
void require_causal(const RouterPolicy<real>& policy, std::string_view use) {
  if (!policy.causal)
    fail(ErrorCode::kUsage, "model.moe: {}: expected a causal routing policy, got {} (experts depend on later tokens)",
         use, policy.name);
}

}  // namespace troupe
