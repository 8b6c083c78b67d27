// Small passes (ops/elementwise.h).
#pragma once

#include <cstdint>

#include "kernels/dropout.h"
#include "tensor/matrix.h"

namespace troupe::ref {

template <class P>
void dropout_backward(Matrix<const typename P::real> dx, const Dropout& dropout, Matrix<typename P::operand> dy) {
  using real = typename P::real;
  for (int64_t t = 0; t < dx.rows; ++t)
    for (int64_t d = 0; d < dx.cols; ++d)
      dy(t, d) = static_cast<typename P::operand>(dx(t, d) * static_cast<real>(dropout.scale(t, d, dx.cols)));
}

}  // namespace troupe::ref
