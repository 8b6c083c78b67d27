// Rows between tokens and experts: gather before the experts, weighted sum after them, and the gradients of both.
// row_of_TK maps (token, choice) to a row, -1 if it has none; source_of_R is its inverse (token * K + choice).
#pragma once

#include <cstdint>
#include <span>

#include "ops/dropout.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

// xe_RD[r] = x_TD[token of r].
template <class P>
void gather_rows(Matrix<const typename P::operand> x_TD, std::span<const int32_t> source_of_R, int64_t num_rows,
                 int64_t K, Matrix<typename P::operand> xe_RD);

// dx_TD[t] += sum_k dxe_RD[row(t, k)], in order of k.
template <class P>
void gather_rows_backward(Matrix<const typename P::real> dxe_RD, std::span<const int32_t> row_of_TK, int64_t K,
                          Matrix<typename P::real> dx_TD);

// out_TD[t] = residual_TD[t] + sum_k weight_tk * dropout(ye_RD[row(t, k)]); dropout elements are token * K + choice.
template <class P>
void combine_rows(Matrix<const typename P::real> residual_TD, Matrix<const typename P::real> ye_RD,
                  std::span<const int32_t> row_of_TK, std::span<const typename P::real> weight_TK, int64_t K,
                  const Dropout& dropout, Matrix<typename P::real> out_TD);

// dye_RD[r] = weight * dropout'(dout_TD[t]); dweight_TK = dout . dropout(ye), 0 where there is no row.
template <class P>
void combine_rows_backward(Matrix<const typename P::real> dout_TD, Matrix<const typename P::real> ye_RD,
                           std::span<const int32_t> row_of_TK, std::span<const typename P::real> weight_TK, int64_t K,
                           const Dropout& dropout, Matrix<typename P::operand> dye_RD,
                           std::span<typename P::real> dweight_TK);

}  // namespace troupe
