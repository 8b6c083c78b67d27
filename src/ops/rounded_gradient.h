// A gradient dx of the residual stream as the products read it that come next on the way back: dy = dropout'(dx) in the
// operand type. A pass that ends dx leaves it, too, so that no other has to read dx again.
#pragma once

#include "kernels/linear.h"
#include "ops/dropout.h"
#include "tensor/matrix.h"

namespace troupe {

template <class P>
struct RoundedGradient {
  Dropout dropout;
  Matrix<typename P::operand> dy_TD;  // overwritten; empty: nobody asks
  BiasSums<typename P::real> bias;    // of dy
};

}  // namespace troupe
