// RMSNorm of some rows, each of N groups of C columns that are normalised by themselves (ops/rms_norm.h).
#pragma once

#include <cstdint>

#include "tensor/bf16.h"
#include "tensor/matrix.h"

namespace troupe {

template <class X, class Y>
struct RmsNormForwardTask {
  Matrix<const X> x;   // [rows, N C]
  const float* gamma;  // [C]
  int64_t C;
  float epsilon;
  Matrix<Y> y;           // may be empty
  Matrix<float> y_real;  // may be empty
  float* rstd;           // of the first row's first group, or nullptr
};

template <class X>
struct RmsNormBackwardTask {
  Matrix<const X> x;
  const float *gamma, *rstd;
  int64_t C;
  Matrix<const X> dy;  // what dx is for heads
  Matrix<X> dx;        // added to; of heads overwritten
  float* dgamma;       // [C], overwritten with the sum over these rows, in order
};

struct RmsNormKernels {
  void (*forward_f32)(const RmsNormForwardTask<float, float> &task);
  void (*forward_bf16)(const RmsNormForwardTask<float, bf16> &task);
  void (*backward)(const RmsNormBackwardTask<float> &task);
  void (*heads_forward_f32)(const RmsNormForwardTask<float, float> &task);
  void (*heads_forward_bf16)(const RmsNormForwardTask<bf16, bf16> &task);
  void (*heads_backward_f32)(const RmsNormBackwardTask<float> &task);
  void (*heads_backward_bf16)(const RmsNormBackwardTask<bf16> &task);
};

}  // namespace troupe
