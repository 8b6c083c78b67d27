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

struct RouteRequest {
  const MoeConfig& config;
  RoutingGroups groups;
  CapacityRule capacity;
  bool training = false;    // random choices are on
  uint64_t key = 0;         // of random choices
  int64_t first_token = 0;  // index of token 0 in the global batch

  // Of an expert in a group of so many tokens.
  int64_t places(int64_t group_tokens) const { return expert_capacity(config, capacity, training, group_tokens); }
};

// The choices of a policy that lets each token choose K experts.
struct TokenChoices {
  std::span<int32_t> expert_TK;  // by rank of the choice; -1 if masked (pad, or random policy)
  std::span<int32_t> place_TK;   // place in the expert's buffer, counted within the group; -1 if masked
  std::span<uint8_t> kept_TK;    // place < capacity
};

// The decisions of one MoE layer about T tokens. Memory is the arena's.
template <class real>
struct Routing {
  int64_t T = 0, E = 0, K = 0;
  Matrix<real> prob_TE;   // of the experts for a token, by the policy's rule
  std::span<real> lse_T;  // log sum_e exp(z_te), if a loss wants it, else empty
  TokenChoices choices;   // the policy's own
  Routed<real> rows;      // what everybody else reads

  void plan(Arena& arena, const MoeConfig& config, int64_t num_tokens);
};

}  // namespace troupe
