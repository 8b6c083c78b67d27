// The optimizer's passes over float32 parameters (ops/adam.h).
#pragma once

#include <cstdint>

#include "kernels/adam_step.h"

namespace troupe {

struct AdamKernelTable {
  void (*update)(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, float* m, float* v);
  // In double lanes.
  double (*sum_of_squares)(const float* values, int64_t count);
  bool (*all_finite)(const float* values, int64_t count);
};

}  // namespace troupe
