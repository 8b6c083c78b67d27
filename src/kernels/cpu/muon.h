// Passes over float32 matrices around the products of a Muon update (ops/muon.h).
#pragma once

#include <cstdint>

#include "tensor/bf16.h"

namespace troupe {

struct MuonKernels {
  // m = momentum m + share g;  u = momentum m + share g with the new m if `nesterov`, else m.
  void (*momentum)(float momentum, float share, bool nesterov, const float* g, int64_t count, float* m, float* u);
  // y = alpha x + beta z; y may be x or z.
  void (*blend)(float alpha, const float* x, float beta, const float* z, int64_t count, float* y);
  // y = x rounded, and x becomes what y is.
  void (*round)(int64_t count, float* x, bf16* y);
};

}  // namespace troupe
