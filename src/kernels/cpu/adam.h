// The optimizer's passes over float32 parameters (ops/adam.h).
#pragma once

#include <cstdint>

namespace troupe {

// p <- decay p - rate m / (sqrt(v) + epsilon) after m and v took g. Both forms of AdamStep come down to it.
struct AdamCoefficients {
  float beta1, rest1;  // rest1 = (1 - beta1) grad_scale, rest2 = (1 - beta2) grad_scale^2
  float beta2, rest2;
  float decay, rate, epsilon;
};

struct AdamKernelTable {
  void (*update)(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, float* m, float* v);
  // In double lanes.
  double (*sum_of_squares)(const float* values, int64_t count);
  bool (*all_finite)(const float* values, int64_t count);
};

}  // namespace troupe
