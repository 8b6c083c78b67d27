// Who chooses whom. A policy is a row here, which says what others need to know of it, and its rows in the lists of
// Route and RouteBackward (route.h), which refuse the tasks of other policies.
//
//   top_k   every token chooses its K best experts by a softmax of the router's logits, with fairseq's options
//           (modules/moe/top2gate.py and top1gate.py, branch moe; GShard, Switch). The first choice is the most
//           probable expert, every later one has the largest logit among the rest; ties go to the lowest index. Places
//           count tokens in order, choices of one rank after all choices of the ranks before. A weight is the choice's
//           probability, divided by a sum or not (normalize). Choices get no gradient.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "troupe/config.h"

namespace troupe {

struct RouterPolicy {
  std::string_view name;
  bool causal;  // with room for every choice, a token's rows and weights depend on that token alone
  int64_t (*max_rows)(const MoeConfig&, int64_t num_tokens);
};

inline constexpr std::string_view kTopK = "top_k";

std::span<const RouterPolicy> router_policies();

// The policy of a configuration; there is one so far.
const RouterPolicy& router_policy(const MoeConfig& config);

// For what runs tokens one after the other: throws kUsage, by name, if a token's experts depend on later tokens.
void require_causal(const RouterPolicy& policy, std::string_view use);

}  // namespace troupe
