// Top-k gating after fairseq (modules/moe/top2gate.py and top1gate.py, branch moe; GShard, Switch): probabilities,
// choices, places within an expert's capacity, combine weights, balance loss, and their gradient.
//
// Everything with a capacity or a mean over tokens is defined over a routing group: a run of consecutive tokens.
#pragma once

#include <cstdint>
#include <span>

#include "nn/moe/router_stats.h"
#include "nn/run_mode.h"
#include "tensor/arena.h"
#include "troupe/config.h"

namespace troupe {

// The decisions of one MoE layer about T tokens. Memory is the arena's.
template <class real>
struct Routing {
  int64_t T = 0, E = 0, K = 0;
  Matrix<real> prob_TE;          // softmax of the router's logits
  std::span<int32_t> expert_TK;  // chosen expert by rank of the choice; -1 if masked (pad, or random policy)
  std::span<int32_t> place_TK;   // place in the expert's buffer, counted within the group
  std::span<uint8_t> kept_TK;    // place < capacity
  std::span<real> weight_TK;     // of that expert's output in the sum; 0 if dropped or masked

  void plan(Arena& arena, int64_t num_tokens, const MoeConfig& config);
};

// Tokens [g * size, (g + 1) * size) form group g; the last may be short.
struct RoutingGroups {
  int64_t size = 0;
  std::span<const uint8_t> token_valid;  // [T], 0 for padding; empty if there is none
};

// S of a group -> places per expert; INT64_MAX if dropless.
int64_t expert_capacity(const MoeConfig& config, const RunMode& mode, int64_t group_tokens);

// Fills `routing` from logits_TE. Returns statistics, with stats.aux = l_aux of fairseq:
//   E * sum_e me_e ce_e,  me_e = mean of prob_te over the group, ce_e = share of its tokens whose first choice is e,
// both divided by the group's slots. Ties go to the lowest index.
template <class real>
RouterStats route(const MoeConfig& config, Matrix<const real> logits_TE, const RoutingGroups& groups,
                  const RunMode& mode, int64_t layer, Routing<real>& routing);

// dlogits_TE (overwritten) from dweight_TK and from the balance loss, whose coefficient for group g, aux_scale[g], is
// d(loss)/d(l_aux of the group). Indices get no gradient.
template <class real>
void route_backward(const MoeConfig& config, const Routing<real>& routing, const RoutingGroups& groups,
                    std::span<const real> dweight_TK, std::span<const double> aux_scale, Matrix<real> dlogits_TE);

}  // namespace troupe
