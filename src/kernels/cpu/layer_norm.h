// LayerNorm of some rows (ops/layer_norm.h).
#pragma once

#include <cstdint>

#include "tensor/bf16.h"
#include "tensor/matrix.h"

namespace troupe {

template <class T>
struct LayerNormForwardTask {
  Matrix<const float> x;
  const float *gamma, *beta;  // beta may be nullptr
  float epsilon;
  Matrix<T> y;           // may be empty
  Matrix<float> y_real;  // may be empty
  float *mean, *rstd;    // of the first row, or nullptr
};

struct LayerNormBackwardTask {
  Matrix<const float> x;
  const float *gamma, *mean, *rstd;
  Matrix<const float> dy;
  Matrix<float> dx;       // added to
  float *dgamma, *dbeta;  // [D], overwritten with the sums over these rows, in order
};

struct LayerNormKernelTable {
  void (*forward_f32)(const LayerNormForwardTask<float> &task);
  void (*forward_bf16)(const LayerNormForwardTask<bf16> &task);
  void (*backward)(const LayerNormBackwardTask &task);
};

}  // namespace troupe
