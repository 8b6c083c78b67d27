// What surrounds a matrix product element by element, for blocks of float32 results z. `row` and `col` are the position
// of z's first element in the outputs; bias starts at that column. Meaning: kernels/linear.h.
#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace troupe {

struct EpilogueBlock {
  const float* z;
  int64_t stride;  // between rows of z
  int64_t row, col, rows, cols;
  int64_t width;  // columns of the whole output, which number the elements of a dropout mask
};

struct EpilogueKernels {
  void (*forward_f32)(const EpilogueBlock& block, const float* bias, const ForwardEpilogue<F32>& epilogue);
  void (*forward_bf16)(const EpilogueBlock& block, const float* bias, const ForwardEpilogue<Bf16>& epilogue);
  void (*backward_f32)(const EpilogueBlock& block, const BackwardEpilogue<F32>& epilogue);
  void (*backward_bf16)(const EpilogueBlock& block, const BackwardEpilogue<Bf16>& epilogue);
  // sums[j] += sum over rows of dy[i, j]; the sum runs over rows in order and is added once.
  void (*column_sums_f32)(Matrix<const float> dy, float* sums);
  void (*column_sums_bf16)(Matrix<const bf16> dy, float* sums);
  // c += z; rows of c are ldc apart.
  void (*add)(Matrix<const float> z, float* c, int64_t ldc);
};

}  // namespace troupe
