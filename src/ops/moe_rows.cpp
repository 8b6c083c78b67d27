#include "ops/moe_rows.h"

#include <algorithm>
#include <cstring>

#include "base/threads.h"

namespace troupe {
namespace {

constexpr int64_t kRowChunk = 64;

}  // namespace

template <class P>
void gather_rows(Matrix<const typename P::operand> x_TD, std::span<const int32_t> source_of_R, int64_t num_rows,
                 int64_t K, Matrix<typename P::operand> xe_RD) {
  parallel_chunks(num_rows, kRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) std::copy_n(x_TD.row(source_of_R[r] / K), x_TD.cols, xe_RD.row(r));
  });
}

template <class P>
void gather_rows_backward(Matrix<const typename P::real> dxe_RD, std::span<const int32_t> row_of_TK, int64_t K,
                          Matrix<typename P::real> dx_TD) {
  parallel_chunks(dx_TD.rows, kRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t k = 0; k < K; ++k) {
        const int32_t row = row_of_TK[t * K + k];
        if (row < 0) continue;
        const auto* const source = dxe_RD.row(row);
        auto* const target = dx_TD.row(t);
        for (int64_t d = 0; d < dx_TD.cols; ++d) target[d] += source[d];
      }
  });
}

template <class P>
void combine_rows(Matrix<const typename P::real> residual_TD, Matrix<const typename P::real> ye_RD,
                  std::span<const int32_t> row_of_TK, std::span<const typename P::real> weight_TK, int64_t K,
                  const Dropout& dropout, Matrix<typename P::real> out_TD) {
  using real = typename P::real;
  const int64_t D = out_TD.cols;
  parallel_chunks(out_TD.rows, kRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      real* const out = out_TD.row(t);
      if (out != residual_TD.row(t)) std::copy_n(residual_TD.row(t), D, out);
      for (int64_t k = 0; k < K; ++k) {
        const int64_t i = t * K + k;
        if (row_of_TK[i] < 0) continue;
        const real* const y = ye_RD.row(row_of_TK[i]);
        const real weight = weight_TK[i];
        if (dropout.active()) {
          for (int64_t d = 0; d < D; ++d) out[d] += weight * (y[d] * static_cast<real>(dropout.scale(i, d, D)));
        } else {
          for (int64_t d = 0; d < D; ++d) out[d] += weight * y[d];
        }
      }
    }
  });
}

template <class P>
void combine_rows_backward(Matrix<const typename P::real> dout_TD, Matrix<const typename P::real> ye_RD,
                           std::span<const int32_t> row_of_TK, std::span<const typename P::real> weight_TK, int64_t K,
                           const Dropout& dropout, Matrix<typename P::operand> dye_RD,
                           std::span<typename P::real> dweight_TK) {
  using real = typename P::real;
  using operand = typename P::operand;
  const int64_t D = dout_TD.cols;
  parallel_chunks(dout_TD.rows, kRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t k = 0; k < K; ++k) {
        const int64_t i = t * K + k;
        dweight_TK[i] = 0;
        if (row_of_TK[i] < 0) continue;
        const real* const dout = dout_TD.row(t);
        const real* const y = ye_RD.row(row_of_TK[i]);
        operand* const dy = dye_RD.row(row_of_TK[i]);
        const real weight = weight_TK[i];
        real partial[16] = {};  // fixed lanes: the sum does not depend on how the loop is vectorised
        for (int64_t d = 0; d < D; ++d) {
          const real scaled = dropout.active() ? dout[d] * static_cast<real>(dropout.scale(i, d, D)) : dout[d];
          dy[d] = static_cast<operand>(weight * scaled);
          partial[d % 16] += scaled * y[d];
        }
        real dot = 0;
        for (const real value : partial) dot += value;
        dweight_TK[i] = dot;
      }
  });
}

#define TROUPE_INSTANTIATE(P)                                                                                       \
  template void gather_rows<P>(Matrix<const P::operand>, std::span<const int32_t>, int64_t, int64_t,                \
                               Matrix<P::operand>);                                                                 \
  template void gather_rows_backward<P>(Matrix<const P::real>, std::span<const int32_t>, int64_t, Matrix<P::real>); \
  template void combine_rows<P>(Matrix<const P::real>, Matrix<const P::real>, std::span<const int32_t>,             \
                                std::span<const P::real>, int64_t, const Dropout&, Matrix<P::real>);                \
  template void combine_rows_backward<P>(Matrix<const P::real>, Matrix<const P::real>, std::span<const int32_t>,    \
                                         std::span<const P::real>, int64_t, const Dropout&, Matrix<P::operand>,     \
                                         std::span<P::real>);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
