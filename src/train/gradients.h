// What happens to gradients between the backward pass and the optimizer: one norm over everything, clipping, and the
// stop at values that are not finite.
#pragma once

#include <cstdint>
#include <string>

#include "dist/communicator.h"
#include "model/batch.h"
#include "nn/parameters.h"

namespace troupe {

// L2 norm over all parameters of the gradient of the mean loss: `grads` holds sums over `tokens` tokens.
// Where ranks share the parameters, every rank has those that it moves, and all get the same bits.
double gradient_norm(const ParameterStore<float>& grads, int64_t tokens, Communicator* ranks = nullptr);

// min(1, max_norm / (norm + 1e-6)); 1 if max_norm is 0: measured only (fairseq utils.py:330-396).
double clip_factor(double norm, double max_norm);

// Throws kNonFinite naming the step and the first tensor with a value that is not finite, unless loss and norm are
// finite: "step 12: gradient of layers.3.moe.experts.17.fc1.weight: expected finite values, got nan at index 5 (...)".
void require_finite(int64_t step, const LossSum& loss, double norm, const ParameterStore<float>& params,
                    const ParameterStore<float>& grads);

// The same of the gradients of one layer, or of what belongs to none (-1), whose squares add up to `squares`, before
// they are taken; those of other layers were taken before.
void require_finite_layer(int64_t step, const LossSum& loss, double squares, const ParameterStore<float>& grads,
                          int64_t layer);

// Throws kNonFinite naming the step and the first tensor if update `step` made a value that is not finite. `kind`
// stands before the tensor's name: "first moment of ".
template <class T>
void require_finite_update(int64_t step, const std::string& kind, const ParameterStore<T>& values);

}  // namespace troupe
