// Embedding lookup and its gradient (ops/embedding.h).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/dropout.h"
#include "tensor/matrix.h"

namespace troupe::ref {

template <class P>
void embedding_forward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T,
                       Matrix<const typename P::real> embed_VD, Matrix<const typename P::real> positions_PD,
                       double scale, const Dropout& dropout, Matrix<typename P::real> x_TD) {
  using real = typename P::real;
  for (int64_t t = 0; t < x_TD.rows; ++t)
    for (int64_t d = 0; d < x_TD.cols; ++d)
      x_TD(t, d) = (static_cast<real>(scale) * embed_VD(tokens_T[t], d) + positions_PD(positions_T[t], d)) *
                   static_cast<real>(dropout.scale(t, d, x_TD.cols));
}

// dE[token_t] += scale dropout'(dx_t) unless token_t is pad;  dP[position_t] += dropout'(dx_t) unless position_t is 1.
// Either may be empty.
template <class P>
void embedding_backward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T, int64_t pad_id,
                        double scale, const Dropout& dropout, Matrix<const typename P::real> dx_TD,
                        Matrix<typename P::real> dembed_VD, Matrix<typename P::real> dpositions_PD) {
  using real = typename P::real;
  for (int64_t t = 0; t < dx_TD.rows; ++t)
    for (int64_t d = 0; d < dx_TD.cols; ++d) {
      const real gradient = dx_TD(t, d) * static_cast<real>(dropout.scale(t, d, dx_TD.cols));
      if (dembed_VD && tokens_T[t] != pad_id) dembed_VD(tokens_T[t], d) += static_cast<real>(scale) * gradient;
      if (dpositions_PD && positions_T[t] != 1) dpositions_PD(positions_T[t], d) += gradient;
    }
}

}  // namespace troupe::ref
