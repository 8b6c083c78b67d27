// Output layer and cross-entropy, fused over blocks of tokens: logits [T, V] never exist as a whole.
//   nll_t = log(sum_v exp(l_tv)) - l_t,target,  l = h E^T (no bias); targets < 0 are not scored and get nll 0.
// Implementations: kLoss in loss.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "ops/linear.h"

namespace troupe {

// Scores only: nll_T [T] is overwritten. argmax_T (may be empty) gets the most probable token, lowest id on ties.
template <class P>
void output_loss(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD, std::span<const int32_t> targets_T,
                 std::span<typename P::real> nll_T, std::span<int32_t> argmax_T = {});

// Scores and the gradient of the sum of the losses: dh_TD is overwritten, dembed_VD [V, D] is added to
// unless it is nullptr.
template <class P>
void output_loss_with_gradient(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                               std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                               Matrix<typename P::real> dh_TD, typename P::real* dembed_VD);

}  // namespace troupe
