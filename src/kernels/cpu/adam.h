// The optimizer's passes over float32 parameters (ops/adam.h).
#pragma once

#include <cstdint>

#include "kernels/adam_step.h"
#include "tensor/bf16.h"

namespace troupe {

struct AdamKernelTable {
  void (*update)(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, float* m, float* v);
  // Moments in bf16, rounded by chance; element i takes word n % 4 of Philox(key, n / 4), n = first + i.
  void (*update_bf16)(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, bf16* m, bf16* v,
                      uint64_t key, uint64_t first);
  // In double lanes.
  double (*sum_of_squares)(const float* values, int64_t count);
  bool (*all_finite)(const float* values, int64_t count);
};

}  // namespace troupe
