// Rows between tokens and experts: gather before the experts, weighted sum after them, and the gradients of both.
// row_of_TK maps (token, choice) to a row, -1 if it has none; source_of_R is its inverse (token * K + choice).
#pragma once

#include <cstdint>
#include <span>

#include "ops/dropout.h"
#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

// xe_RD[r] = x_TD[token of r].
template <class P>
struct GatherRows {
  using operand = typename P::operand;
  static constexpr std::string_view kName = "gather_rows";

  Matrix<const operand> x_TD;
  std::span<const int32_t> source_of_R;  // at least as many as xe has rows
  int64_t K = 1;
  Matrix<operand> xe_RD;  // overwritten

  static Implementations<GatherRows> implementations();
};

// dx_TD[t] += sum_k dxe_RD[row(t, k)], in order of k.
template <class P>
struct GatherRowsBackward {
  using real = typename P::real;
  static constexpr std::string_view kName = "gather_rows_backward";

  Matrix<const real> dxe_RD;
  std::span<const int32_t> row_of_TK;
  int64_t K = 1;
  Matrix<real> dx_TD;  // added to

  static Implementations<GatherRowsBackward> implementations();
};

// out_TD[t] = residual_TD[t] + sum_k weight_tk * dropout(ye_RD[row(t, k)]); dropout elements are token * K + choice.
template <class P>
struct CombineRows {
  using real = typename P::real;
  static constexpr std::string_view kName = "combine_rows";

  Matrix<const real> residual_TD, ye_RD;
  std::span<const int32_t> row_of_TK;
  std::span<const real> weight_TK;
  int64_t K = 1;
  Dropout dropout;
  Matrix<real> out_TD;  // overwritten; may be residual_TD

  static Implementations<CombineRows> implementations();
};

// dye_RD[r] = weight * dropout'(dout_TD[t]); dweight_tk = dout_t . dropout(ye_RD[row(t, k)]), 0 where there is no row.
template <class P>
struct CombineRowsBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "combine_rows_backward";

  Matrix<const real> dout_TD, ye_RD;
  std::span<const int32_t> row_of_TK;
  std::span<const real> weight_TK;
  int64_t K = 1;
  Dropout dropout;
  Matrix<operand> dye_RD;      // overwritten
  std::span<real> dweight_TK;  // overwritten

  static Implementations<CombineRowsBackward> implementations();
};

}  // namespace troupe
