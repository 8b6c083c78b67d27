// Passes over rows next to the residual stream: embedding, dropout; and softmax rows of the output loss.
#pragma once

#include <cstdint>

#include "kernels/dropout.h"
#include "tensor/bf16.h"
#include "tensor/matrix.h"

namespace troupe {

struct RowKernels {
  // x[t] = dropout(scale E[token_t] + P[position_t]) for t in [begin, end); P may be empty.
  void (*embedding_forward)(const int32_t* tokens_T, const int32_t* positions_T, Matrix<const float> embed_VD,
                            Matrix<const float> positions_PD, float scale, const Dropout& dropout, int64_t begin,
                            int64_t end, Matrix<float> x_TD);
  // table[id_t] += scale dropout'(dx_t) in order of t, for every t with id_t % num_parts == part, except id_t = skip.
  void (*scatter_add)(const int32_t* ids_T, int64_t skip, int64_t part, int64_t num_parts, float scale,
                      const Dropout& dropout, Matrix<const float> dx_TD, Matrix<float> table);
  // dy[t] = dropout'(dx[t]) for t in [begin, end).
  void (*dropout_f32)(Matrix<const float> dx, const Dropout& dropout, int64_t begin, int64_t end, Matrix<float> dy);
  void (*dropout_bf16)(Matrix<const float> dx, const Dropout& dropout, int64_t begin, int64_t end, Matrix<bf16> dy);
  // The same of rows in bf16.
  void (*drop_bf16)(Matrix<const bf16> x, const Dropout& dropout, int64_t begin, int64_t end, Matrix<bf16> y);
  // Returns log sum_v exp(logits_v); NaN if any logit is.
  float (*log_sum_exp)(const float* logits, int64_t count);
  // Index of the largest value, the lowest on ties; 0 if there is no number among them.
  int64_t (*argmax)(const float* values, int64_t count);
  // dlogits_v = exp(logits_v - lse); in place for float32.
  void (*softmax_f32)(const float* logits, float lse, int64_t count, float* dlogits);
  void (*softmax_bf16)(const float* logits, float lse, int64_t count, bf16* dlogits);
};

}  // namespace troupe
