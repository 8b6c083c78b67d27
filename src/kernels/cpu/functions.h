// The elementary functions of vec_math.h on arrays, so that tests can measure their accuracy at every level.
#pragma once

#include <cstdint>

namespace troupe {

struct FunctionKernels {
  // y[i] = f(x[i])
  void (*exp)(const float* x, int64_t count, float* y);
  void (*exp_nonpositive)(const float* x, int64_t count, float* y);
  void (*exp2_nonpositive)(const float* x, int64_t count, float* y);
  void (*normal_cdf)(const float* x, int64_t count, float* y);
  void (*tanh)(const float* x, int64_t count, float* y);
  void (*log)(const float* x, int64_t count, float* y);
};

}  // namespace troupe
