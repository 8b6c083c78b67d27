// The gated feed-forward network (Shazeer 2020): of z = [a, b], two halves beside each other,
//   hidden = f(a) b,   da = dhidden b f'(a),   db = dhidden f(a)
#pragma once

#include "kernels/activation.h"
#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

template <class P>
struct GateForward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "gate_forward";

  Activation activation = Activation::kNone;
  Matrix<const operand> z_R2F;  // a in the first F columns, b in the others
  Matrix<operand> hidden_RF;    // overwritten

  static Implementations<GateForward> implementations();
};

template <class P>
struct GateBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "gate_backward";

  Activation activation = Activation::kNone;
  Matrix<const operand> z_R2F, dhidden_RF;
  Matrix<operand> dz_R2F;  // overwritten

  static Implementations<GateBackward> implementations();
};

}  // namespace troupe
