// The pass of a gated feed-forward network over some rows (ops/gate.h).
#pragma once

#include "kernels/activation.h"
#include "tensor/bf16.h"
#include "tensor/matrix.h"

namespace troupe {

template <class T>
struct GateTask {
  Activation activation;
  Matrix<const T> z;  // [rows, 2 F]
  Matrix<T> hidden;   // forward: overwritten
  Matrix<const T> dhidden;
  Matrix<T> dz;  // backward: overwritten
};

struct GateKernels {
  void (*forward_f32)(const GateTask<float> &task);
  void (*forward_bf16)(const GateTask<bf16> &task);
  void (*backward_f32)(const GateTask<float> &task);
  void (*backward_bf16)(const GateTask<bf16> &task);
};

}  // namespace troupe
