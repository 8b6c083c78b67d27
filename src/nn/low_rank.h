// Gradients of low-rank adapters A [r, K] and B [N, r] of a linear map that computes with W + s B A (nn/lora.h). With
// u = x (s A)^T [R, r] and du = dy (s B) [R, r] they are
//
//   dA += du^T x,    dB += dy^T u
//
// which is s B^T dW' and s dW' A^T, the whole gradient dW' = dy^T x never formed: 4 R r (N + K) multiplications of a
// map instead of R N K and two products with dW'. u and du are rounded to the operand type, as any input of a product.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/linear.h"
#include "tensor/buffer.h"

namespace troupe {

// Adapters of a tensor, or of some rows of every map's output: of matrices that lie on top of each other each has its
// own A and B.
template <class real>
struct LowRank {
  int64_t first_row = 0, rows = 0, stacked = 1;  // `stacked` times `rows` of the output, from the first on: N of each
  int64_t rank = 0;
  const real* a = nullptr;            // s A  [maps, stacked, r, K]
  const real* b = nullptr;            // s B  [stacked, maps, N, r]
  real* da = nullptr;                 // [maps, stacked, r, K], added to
  real* db = nullptr;                 // [maps, stacked, N, r], added to
  Buffer<std::byte>* room = nullptr;  // for u and du, grown as needed
};

// Over rows sorted by map, as everywhere (ops/linear.h).
template <class P>
void add_low_rank_gradients(const LowRank<typename P::real>& adapters, int64_t num_maps,
                            Matrix<const typename P::operand> dy, Matrix<const typename P::operand> x,
                            RowOffsets offsets);

extern template void add_low_rank_gradients<F64>(const LowRank<double>&, int64_t, Matrix<const double>,
                                                 Matrix<const double>, RowOffsets);
extern template void add_low_rank_gradients<F32>(const LowRank<float>&, int64_t, Matrix<const float>,
                                                 Matrix<const float>, RowOffsets);
extern template void add_low_rank_gradients<Bf16>(const LowRank<float>&, int64_t, Matrix<const bf16>,
                                                  Matrix<const bf16>, RowOffsets);

}  // namespace troupe
