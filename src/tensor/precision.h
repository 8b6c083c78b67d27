// The three arithmetics in which the model exists. `operand` is the type of inputs of matrix products; everything else
// (accumulation, residual stream, norms, softmax, gelu, router, logits, weight gradients, optimizer) is `real`.
#pragma once

#include "tensor/bf16.h"

namespace troupe {

struct F64 {  // the reference of gradient checks
  using real = double;
  using operand = double;
};
struct F32 {
  using real = float;
  using operand = float;
};
struct Bf16 {
  using real = float;
  using operand = bf16;
};

enum class Precision { kFp32, kBf16 };

}  // namespace troupe
