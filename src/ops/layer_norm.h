// LayerNorm over rows: y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(var + 1e-5), biased variance in two passes
// (fairseq modules/layer_norm.py).
#pragma once

#include <span>

#include "ops/op.h"
#include "ops/rounded_gradient.h"
#include "tensor/matrix.h"

namespace troupe {

inline constexpr double kLayerNormEpsilon = 1e-5;

template <class P>
struct LayerNormForward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "layer_norm_forward";

  Matrix<const real> x_TD;
  std::span<const real> gamma_D, beta_D;  // beta may be empty: none is added
  double epsilon = kLayerNormEpsilon;
  // Overwritten; each may be empty. y is written in the operand type and in real (the router reads it).
  Matrix<operand> y_TD;
  Matrix<real> y_real_TD;
  std::span<real> mean_T, rstd_T;  // for the backward pass

  static Implementations<LayerNormForward> implementations();
};

// With n = (x - mean) rstd and g = gamma dy:  dx += rstd (g - mean_d(g) - n mean_d(g n)),
// dgamma += sum_t dy n,  dbeta += sum_t dy. Sums over tokens run over fixed chunks in order.
template <class P>
struct LayerNormBackward {
  using real = typename P::real;
  static constexpr std::string_view kName = "layer_norm_backward";

  Matrix<const real> x_TD;
  std::span<const real> gamma_D, mean_T, rstd_T;
  Matrix<const real> dy_TD;
  Matrix<real> dx_TD;                 // added to
  std::span<real> dgamma_D, dbeta_D;  // added to; each may be empty
  RoundedGradient<P>* rounded = nullptr;  // of dx with what is added; may be nullptr

  static Implementations<LayerNormBackward> implementations();
};

}  // namespace troupe
