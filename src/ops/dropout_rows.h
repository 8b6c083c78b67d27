// dy = dropout'(dx) of some rows at a level of instruction sets, for the ops that leave it.
#pragma once

#include <type_traits>

#include "kernels/table.h"
#include "ops/rounded_gradient.h"
#include "tensor/precision.h"

namespace troupe {

template <class P>
void drop_rows_at(Isa level, Matrix<const float> dx, const Dropout& dropout, int64_t begin, int64_t end,
                  Matrix<typename P::operand> dy) {
  const RowKernels& rows = kernels(level).rows;
  if constexpr (std::is_same_v<P, F32>)
    rows.dropout_f32(dx, dropout, begin, end, dy);
  else
    rows.dropout_bf16(dx, dropout, begin, end, dy);
}

// The rows of it that somebody asked for.
template <class P>
void round_rows_at(Isa level, Matrix<const float> dx, int64_t begin, int64_t end, const RoundedGradient<P>* rounded) {
  if (rounded && rounded->dy_TD) drop_rows_at<P>(level, dx, rounded->dropout, begin, end, rounded->dy_TD);
}

}  // namespace troupe
