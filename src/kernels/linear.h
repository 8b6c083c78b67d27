// What the matrix products of ops/linear.h are asked to do, as every implementation of them sees it.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/dropout.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

// E weight matrices [E, N, K] and biases [E, N] (or nullptr).
template <class P>
struct WeightView {
  using real = typename P::real;
  int64_t num_experts = 0, out = 0, in = 0;
  const real* weight = nullptr;
  const real* bias = nullptr;

  const real* weight_of(int64_t expert) const { return weight + expert * out * in; }
  const real* bias_of(int64_t expert) const { return bias ? bias + expert * out : nullptr; }
};

// What happens to z = x W^T + b before it is stored.
template <class P>
struct ForwardEpilogue {
  using real = typename P::real;
  using operand = typename P::operand;

  // Exactly one output is set. y_RN = f(z).
  Matrix<operand> out_operand;
  Matrix<real> out_real;
  // f = activation, and z itself is kept for the backward pass (may be empty in evaluation).
  Activation activation = Activation::kNone;
  Matrix<operand> pre_activation;
  // f = residual + dropout(z); residual may alias out_real.
  Matrix<const real> residual;
  Dropout dropout;
};

// Column sums of a gradient dz, which are the gradient of the bias in z: whoever writes dz may add them up on its way,
// and says so. Otherwise the product for the gradient of weights, which reads dz, does.
template <class real>
struct BiasSums {
  real* db = nullptr;  // added to: [columns], expert by expert where rows are; nullptr: nobody asks
  bool added = false;
};

// dx = dy W, stored as is, or as da = dx * activation'(pre_activation).
template <class P>
struct BackwardEpilogue {
  using real = typename P::real;
  using operand = typename P::operand;

  Matrix<operand> out_operand;  // exactly one output is set; overwritten
  Matrix<real> out_real;
  Activation activation = Activation::kNone;
  Matrix<const operand> pre_activation;  // set if there is an activation
  BiasSums<real>* bias_sums = nullptr;   // of what is stored, summed up as it is rounded
};

}  // namespace troupe
