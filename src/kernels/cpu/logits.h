// Rows of logits with a soft cap, and their gradient under a penalty on the logarithm of their sum (ops/loss.h).
#pragma once

#include <cstdint>

#include "tensor/bf16.h"

namespace troupe {

struct LogitKernels {
  // logits_v = cap tanh(logits_v / cap)
  void (*soft_cap)(float cap, int64_t count, float* logits);
  // dlogits_v = gain exp(logits_v - lse) (1 - (logits_v / cap)^2), the last factor 1 if inverse_cap is 0; in place for
  // float32, and a bf16 row may fill the front of the row it is computed from.
  void (*gradient_f32)(const float* logits, float lse, float gain, float inverse_cap, int64_t count, float* dlogits);
  void (*gradient_bf16)(const float* logits, float lse, float gain, float inverse_cap, int64_t count, bf16* dlogits);
};

}  // namespace troupe
