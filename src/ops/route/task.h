// What routing is asked to do with the T tokens of a micro-batch, and what it keeps of it for the way back.
//
// Everything with a capacity or a mean over tokens is defined over a routing group: a run of consecutive tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "ops/route/capacity.h"
#include "ops/route/routed.h"
#include "tensor/matrix.h"
#include "troupe/config.h"

namespace troupe {

// Tokens [g * size, (g + 1) * size) form group g; the last may be short.
struct RoutingGroups {
  int64_t size = 0;
  std::span<const uint8_t> token_valid;  // [T], 0 for padding; empty if there is none

  int64_t count(int64_t num_tokens) const { return (num_tokens + size - 1) / size; }
  int64_t begin(int64_t g) const { return g * size; }
  int64_t end(int64_t g, int64_t num_tokens) const { return std::min(num_tokens, (g + 1) * size); }
};

// What a layer's experts got in the micro-batches before, of the same update; on the host.
struct RoutedBefore {
  std::span<const int64_t> load_E;  // of all choices; empty: nothing
  int64_t tokens = 0;
};

struct RouteRequest {
  const MoeConfig& config;
  RoutingGroups groups;
  CapacityRule capacity;
  bool training = false;    // random choices are on
  uint64_t key = 0;         // of random choices
  int64_t first_token = 0;  // index of token 0 in the global batch
  std::span<const int32_t> ids_T = {};  // of the tokens, for a hash
  uint64_t hash_key = 0;                // of the layer, the same in every run
  RoutedBefore before = {};

  bool chance() const { return (training || config.chance_in_eval) && config.top_k == 2; }  // second choices by chance

  // Of an expert in a group of so many tokens.
  int64_t places(int64_t group_tokens) const { return expert_capacity(config, capacity, training, group_tokens); }
};

// Whether choices go by score + bias, or among some groups: not by the logits alone.
inline bool chosen_by_score(const MoeConfig& config) {
  return config.score == RouterScore::kSigmoid || config.balance_bias || config.groups > 1;
}

// expert_choice: how many of a group's tokens an expert takes.
inline int64_t tokens_of_an_expert(const MoeConfig& config, int64_t group_tokens) {
  return std::min(group_tokens, (config.top_k * group_tokens + config.num_experts - 1) / config.num_experts);
}

// K choices of every token. expert_choice: one for each expert, kept if that one chose the token; its place is 0.
struct TokenChoices {
  std::span<int32_t> expert_TK;  // by rank of the choice; -1 if masked (pad, or random policy)
  std::span<int32_t> place_TK;   // place in the expert's buffer, counted within the group; -1 if masked
  std::span<uint8_t> kept_TK;    // place < capacity
};

// The decisions of one MoE layer about T tokens. Memory is the arena's.
template <class real>
struct Routing {
  int64_t T = 0, E = 0, K = 0;
  Matrix<real> prob_TE;   // of the experts for a token: softmax or sigmoids; a hash: 1 / K for its choices
  std::span<real> lse_T;  // log sum_e exp(z_te), if a loss wants it, else empty
  TokenChoices choices;
  Routed<real> rows;      // what everybody else reads

  void plan(Arena& arena, const MoeConfig& config, int64_t num_tokens);
};

}  // namespace troupe
