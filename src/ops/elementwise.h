// Small passes between the larger ops.
#pragma once

#include "ops/dropout.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

// dy = dropout'(dx) in the operand type: the gradient that enters a layer's backward products from the residual stream.
template <class P>
void dropout_backward(Matrix<const typename P::real> dx, const Dropout& dropout, Matrix<typename P::operand> dy);

}  // namespace troupe
