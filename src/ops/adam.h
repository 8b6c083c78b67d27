// Adam with decoupled weight decay, fused into one pass over a block of parameters (fairseq optim/adam.py:189-269;
// Loshchilov and Hutter 2019), and the two scans of gradients that an optimizer step needs. Memory traffic is the cost:
// 28 bytes per float32 parameter.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/adam_step.h"
#include "ops/op.h"
#include "tensor/bf16.h"

namespace troupe {

// With g' = grad_scale * g:  m = beta1 m + (1 - beta1) g',  v = beta2 v + (1 - beta2) g'^2,  p -= weight_decay lr p,
//   kFairseq:  p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
//   kUsual:    p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
// An element's result depends on that element alone, so a caller may cut a store as it likes.
template <class Real>
struct AdamUpdate {
  using real = Real;
  static constexpr std::string_view kName = "adam_update";

  std::span<real> p;  // updated in place, as m and v; all spans have one size
  std::span<const real> g;
  std::span<real> m, v;
  AdamStep step;
  double grad_scale = 1.0;  // carries the clipping factor and 1 / tokens

  static Implementations<AdamUpdate> implementations();
};

// The same with moments in bf16: they are widened, moved and move p as above, and are then rounded by chance
// (kernels/chance.h). Element i takes its chances from word n % 4 of Philox(key, n / 4), n = first + i: m the lower
// half, v the upper one.
template <class Real>
struct AdamUpdateBf16 {
  using real = Real;
  static constexpr std::string_view kName = "adam_update_bf16";

  std::span<real> p;
  std::span<const real> g;
  std::span<bf16> m, v;
  AdamStep step;
  double grad_scale = 1.0;
  uint64_t key = 0;  // of this update and this stream of elements
  int64_t first = 0;

  static Implementations<AdamUpdateBf16> implementations();
};

// What the kernels of both forms read.
AdamCoefficients adam_coefficients(const AdamStep& step, double grad_scale);

// Sum of squares in double, over fixed chunks in order: the same for any number of threads. Not finite if any value is
// not (or if a square overflows double).
template <class Real>
struct SumOfSquares {
  using real = Real;
  static constexpr std::string_view kName = "sum_of_squares";

  std::span<const real> values;
  double* sum = nullptr;  // overwritten

  static Implementations<SumOfSquares> implementations();
};

// Index of the first value that is infinite or NaN, -1 if there is none.
template <class Real>
struct FindNonFinite {
  using real = Real;
  static constexpr std::string_view kName = "find_non_finite";

  std::span<const real> values;
  int64_t* first = nullptr;  // overwritten

  static Implementations<FindNonFinite> implementations();
};

template <class real>
double sum_of_squares(std::span<const real> values) {
  double sum = 0.0;
  run(SumOfSquares<real>{values, &sum});
  return sum;
}

template <class real>
int64_t find_non_finite(std::span<const real> values, Device device = active_device()) {
  int64_t first = -1;
  run_on(device, FindNonFinite<real>{values, &first}, Context::of_this_thread());
  return first;
}

}  // namespace troupe
