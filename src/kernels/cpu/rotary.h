// Rotary positions of some rows (ops/rotary.h).
#pragma once

#include <cstdint>

#include "tensor/bf16.h"
#include "tensor/matrix.h"

namespace troupe {

template <class T>
struct RotaryTask {
  Matrix<T> x;  // [rows, N C], in place
  int64_t C;
  const int32_t* positions;  // of the rows
  Matrix<const float> table;
  bool backward;
};

struct RotaryKernels {
  void (*turn_f32)(const RotaryTask<float> &task);
  void (*turn_bf16)(const RotaryTask<bf16> &task);
};

}  // namespace troupe
