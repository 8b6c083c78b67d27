// Who chooses whom. A policy is a row here, which says what others need to know of it, and its choices in
// kernels/route.h, kernels/ref/route.h and kernels/cuda/route.h; rows, weights and the gradient are the same for all.
//
//   top_k   every token chooses its K best experts by a softmax of the router's logits, with fairseq's options
//           (modules/moe/top2gate.py and top1gate.py, branch moe; GShard, Switch). The first choice is the most
//           probable expert, every later one has the largest logit among the rest; ties go to the lowest index. Places
//           count tokens in order, choices of one rank after all choices of the ranks before. A weight is the choice's
//           probability, divided by a sum or not (normalize). Choices get no gradient.
//           Scores may be sigmoids, choices may go by score + bias and be limited to groups of experts (DeepSeek-V3,
//           arXiv:2412.19437, equations 12 to 16); weights are made of the scores without the biases.
//   hash    a token's K experts are drawn by its id and the layer, the same in every run, and weigh 1 / K (Roller et
//           al. 2021, Hash Layers, arXiv:2106.04426: random hash, MultiHash for K > 1). There is nothing to learn.
//   expert_choice  every expert chooses the ceil(K S / E) of a group's S tokens with the largest probabilities of it;
//           a token has none to E experts, K on average, each weighing its probability (Zhou et al. 2022,
//           arXiv:2202.09368, equations 1 to 3). Who else is there decides: not causal.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "troupe/config.h"

namespace troupe {

struct RouterPolicy {
  std::string_view name;
  bool causal;  // with room for every choice, a token's rows and weights depend on that token alone
  int64_t (*num_choices)(const MoeConfig&);  // a token's, kept or not
  int64_t (*max_rows)(const MoeConfig&, int64_t num_tokens);
};

std::span<const RouterPolicy> router_policies();  // by RouterKind

const RouterPolicy& router_policy(const MoeConfig& config);

// For what runs tokens one after the other: throws kUsage, by name, if a token's experts depend on other tokens.
void require_causal(const MoeConfig& config, std::string_view use);

}  // namespace troupe
