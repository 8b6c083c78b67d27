// Small passes between the larger ops.
#pragma once

#include <span>

#include "ops/dropout.h"
#include "ops/later.h"
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

// y = dropout(x) of what a product reads.
template <class P>
struct DropRows {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "drop_rows";

  Matrix<const operand> x;
  Dropout dropout;
  Matrix<operand> y;  // overwritten

  static Implementations<DropRows> implementations();
};

// x = value.
template <class T>
struct Fill {
  static constexpr std::string_view kName = "fill";

  T value{};
  Matrix<T> x;  // overwritten

  static Implementations<Fill> implementations();
};

// dst = src, of the same shape and apart from each other; each may be the host's (ops/transfer.h).
template <class T>
struct Copy {
  static constexpr std::string_view kName = "copy";

  Matrix<const T> src;
  Matrix<T> dst;  // overwritten

  static Implementations<Copy> implementations();
};

// out = a + b, of the same shape.
template <class Real>
struct Add {
  using real = Real;
  static constexpr std::string_view kName = "add";

  Matrix<const real> a, b;
  Matrix<real> out;  // overwritten; may be a or b

  static Implementations<Add> implementations();
};

// Sum in double, in order: the few values of a loss.
template <class Real>
struct Sum {
  static constexpr std::string_view kName = "sum";

  std::span<const Real> values;
  double* sum = nullptr;  // overwritten
  Later<double>* later = nullptr;  // a place for it, if `sum` can wait

  static Implementations<Sum> implementations();
};

}  // namespace troupe
