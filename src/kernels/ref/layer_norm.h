// LayerNorm as its equations read (ops/layer_norm.h). Sums are in double.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "tensor/matrix.h"

namespace troupe::ref {

template <class P>
void layer_norm_forward(Matrix<const typename P::real> x_TD, std::span<const typename P::real> gamma_D,
                        std::span<const typename P::real> beta_D, double epsilon, Matrix<typename P::operand> y_TD,
                        Matrix<typename P::real> y_real_TD, std::span<typename P::real> mean_T,
                        std::span<typename P::real> rstd_T) {
  using real = typename P::real;
  const int64_t D = x_TD.cols;
  for (int64_t t = 0; t < x_TD.rows; ++t) {
    const real* x = x_TD.row(t);
    double mean = 0.0, variance = 0.0;
    for (int64_t d = 0; d < D; ++d) mean += x[d];
    mean /= static_cast<double>(D);
    for (int64_t d = 0; d < D; ++d) variance += (x[d] - mean) * (x[d] - mean);
    variance /= static_cast<double>(D);
    const double rstd = 1.0 / std::sqrt(variance + epsilon);
    for (int64_t d = 0; d < D; ++d) {
      const double y = (x[d] - mean) * rstd * gamma_D[d] + beta_D[d];
      if (y_TD) y_TD(t, d) = static_cast<typename P::operand>(static_cast<real>(y));
      if (y_real_TD) y_real_TD(t, d) = static_cast<real>(y);
    }
    if (!mean_T.empty()) mean_T[t] = static_cast<real>(mean);
    if (!rstd_T.empty()) rstd_T[t] = static_cast<real>(rstd);
  }
}

// With n = (x - mean) rstd and g = gamma dy:  dx += rstd (g - mean_d(g) - n mean_d(g n)),
// dgamma += sum_t dy n,  dbeta += sum_t dy, unless they are empty.
template <class P>
void layer_norm_backward(Matrix<const typename P::real> x_TD, std::span<const typename P::real> gamma_D,
                         std::span<const typename P::real> mean_T, std::span<const typename P::real> rstd_T,
                         Matrix<const typename P::real> dy_TD, Matrix<typename P::real> dx_TD,
                         std::span<typename P::real> dgamma_D, std::span<typename P::real> dbeta_D) {
  using real = typename P::real;
  const int64_t T = x_TD.rows, D = x_TD.cols;
  const auto normalized = [&](int64_t t, int64_t d) { return (x_TD(t, d) - double{mean_T[t]}) * double{rstd_T[t]}; };
  for (int64_t t = 0; t < T; ++t) {
    double mean_g = 0.0, mean_gn = 0.0;
    for (int64_t d = 0; d < D; ++d) {
      const double g = double{gamma_D[d]} * dy_TD(t, d);
      mean_g += g;
      mean_gn += g * normalized(t, d);
    }
    mean_g /= static_cast<double>(D);
    mean_gn /= static_cast<double>(D);
    for (int64_t d = 0; d < D; ++d)
      dx_TD(t, d) += static_cast<real>(double{rstd_T[t]} *
                                       (double{gamma_D[d]} * dy_TD(t, d) - mean_g - normalized(t, d) * mean_gn));
  }
  for (int64_t d = 0; d < D; ++d) {
    double dgamma = 0.0, dbeta = 0.0;
    for (int64_t t = 0; t < T; ++t) {
      dgamma += dy_TD(t, d) * normalized(t, d);
      dbeta += dy_TD(t, d);
    }
    if (!dgamma_D.empty()) dgamma_D[d] += static_cast<real>(dgamma);
    if (!dbeta_D.empty()) dbeta_D[d] += static_cast<real>(dbeta);
  }
}

}  // namespace troupe::ref
