// RMSNorm (Zhang and Sennrich 2019) over rows of the residual stream, and over the heads of queries or keys:
//   y = x rstd gamma,   rstd = 1 / sqrt(mean_d(x^2) + epsilon)
// With g = gamma dy and n = x rstd:  dx = rstd (g - n mean_d(g n)),   dgamma += sum dy n. Sums over tokens run over fixed
// chunks in order.
#pragma once

#include <span>

#include "ops/op.h"
#include "ops/rounded_gradient.h"
#include "tensor/matrix.h"

namespace troupe {

template <class P>
struct RmsNormForward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "rms_norm_forward";

  Matrix<const real> x_TD;
  std::span<const real> gamma_D;
  double epsilon = 0.0;
  // Overwritten; each may be empty. y is written in the operand type and in real (the router reads it).
  Matrix<operand> y_TD;
  Matrix<real> y_real_TD;
  std::span<real> rstd_T;  // for the backward pass

  static Implementations<RmsNormForward> implementations();
};

template <class P>
struct RmsNormBackward {
  using real = typename P::real;
  static constexpr std::string_view kName = "rms_norm_backward";

  Matrix<const real> x_TD;
  std::span<const real> gamma_D, rstd_T;
  Matrix<const real> dy_TD;
  Matrix<real> dx_TD;        // added to
  std::span<real> dgamma_D;  // added to; may be empty
  RoundedGradient<P>* rounded = nullptr;  // of dx with what is added; may be nullptr

  static Implementations<RmsNormBackward> implementations();
};

// Of N heads beside each other: each group of C columns is a row of its own, with the same gamma_C. N = 1 takes all
// heads as one.
template <class P>
struct HeadNormForward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "head_norm_forward";

  Matrix<const operand> x_TNC;  // [T, N C]
  std::span<const real> gamma_C;
  double epsilon = 0.0;
  Matrix<operand> y_TNC;    // overwritten
  std::span<real> rstd_TN;  // overwritten

  static Implementations<HeadNormForward> implementations();
};

template <class P>
struct HeadNormBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "head_norm_backward";

  Matrix<const operand> x_TNC;
  std::span<const real> gamma_C, rstd_TN;
  Matrix<operand> dy_TNC;    // becomes dx_TNC
  std::span<real> dgamma_C;  // added to; may be empty

  static Implementations<HeadNormBackward> implementations();
};

}  // namespace troupe
