// Small passes between the larger ops.
#pragma once

#include "ops/dropout.h"
#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

// dy = dropout'(dx) in the operand type: the gradient that enters a layer's backward products from the residual stream.
template <class P>
struct DropoutBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "dropout_backward";

  Matrix<const real> dx;
  Dropout dropout;
  Matrix<operand> dy;  // overwritten

  static Implementations<DropoutBackward> implementations();
};

}  // namespace troupe
