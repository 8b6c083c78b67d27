// Losses of routing: additive terms, each a row of router_losses(), defined over a routing group and reported by name.
// To add one (over all choices rather than first ones, a penalty on large logits): a row in losses.cpp, its weight in
// MoeConfig.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "ops/route/task.h"

namespace troupe {

// What a term reads of one routing group of S tokens.
template <class real>
struct LossGroup {
  Matrix<const real> prob_SE;
  std::span<const int32_t> expert_SK;  // choices before dropping, -1 if masked
  int64_t K = 0;
};

template <class real>
struct RouterLoss {
  std::string_view name;
  double (*weight)(const MoeConfig&);  // in the training loss, per token
  double (*value)(const LossGroup<real>&);
  // Adds scale * d(value)/d(prob_se), the same for every token of the group.
  void (*add_gradient)(const LossGroup<real>&, double scale, std::span<real> dprob_E);
};

inline constexpr std::string_view kBalanceLoss = "balance";

// The terms, in the order in which they are reported:
//   balance   l_aux of fairseq: E * sum_e me_e ce_e,  me_e = mean of prob_se over the group, ce_e = share of its tokens
//             whose first choice is e, both divided by the group's slots; 1 if either is even. ce gets no gradient.
template <class real>
std::span<const RouterLoss<real>> router_losses();

}  // namespace troupe
