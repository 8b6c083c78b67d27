// Adam with decoupled weight decay, fused into one pass over a block of parameters (fairseq optim/adam.py:189-269;
// Loshchilov and Hutter 2019), and the two scans of gradients that an optimizer step needs. Memory traffic is the cost:
// 28 bytes per float32 parameter. Implementations: kAdam in adam.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/adam_step.h"

namespace troupe {

// With g' = grad_scale * g:  m = beta1 m + (1 - beta1) g',  v = beta2 v + (1 - beta2) g'^2,  p -= weight_decay lr p,
//   kFairseq:  p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
//   kUsual:    p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
// grad_scale carries the clipping factor and 1 / tokens. p, m and v are updated in place; all spans have one size.
// An element's result depends on that element alone, so a caller may cut a store as it likes.
template <class real>
void adam_update(std::span<real> p, std::span<const real> g, std::span<real> m, std::span<real> v, const AdamStep& step,
                 double grad_scale);

// Sum of squares in double, over fixed chunks in order: the same for any number of threads. Not finite if any value is
// not (or if a square overflows double).
template <class real>
double sum_of_squares(std::span<const real> values);

// Index of the first value that is infinite or NaN, -1 if there is none.
template <class real>
int64_t find_non_finite(std::span<const real> values);

}  // namespace troupe
