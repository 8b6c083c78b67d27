// LayerNorm as its equations read; tasks are those of ops/layer_norm.h. Sums are in double.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/ref/elementwise.h"
#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class Task>
void layer_norm_forward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> x_TD = task.x_TD;
  const HostMatrix<typename Task::operand> y_TD = task.y_TD;
  const HostMatrix<real> y_real_TD = task.y_real_TD;
  const int64_t D = x_TD.cols;
  for (int64_t t = 0; t < x_TD.rows; ++t) {
    const real* x = x_TD.row(t);
    double mean = 0.0, variance = 0.0;
    for (int64_t d = 0; d < D; ++d) mean += x[d];
    mean /= static_cast<double>(D);
    for (int64_t d = 0; d < D; ++d) variance += (x[d] - mean) * (x[d] - mean);
    variance /= static_cast<double>(D);
    const double rstd = 1.0 / std::sqrt(variance + task.epsilon);
    for (int64_t d = 0; d < D; ++d) {
      const double y = (x[d] - mean) * rstd * task.gamma_D[d] + (task.beta_D.empty() ? 0.0 : double{task.beta_D[d]});
      if (y_TD) y_TD(t, d) = static_cast<typename Task::operand>(static_cast<real>(y));
      if (y_real_TD) y_real_TD(t, d) = static_cast<real>(y);
    }
    if (!task.mean_T.empty()) task.mean_T[t] = static_cast<real>(mean);
    if (!task.rstd_T.empty()) task.rstd_T[t] = static_cast<real>(rstd);
  }
}

template <class Task>
void layer_norm_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> x_TD = task.x_TD, dy_TD = task.dy_TD;
  const HostMatrix<real> dx_TD = task.dx_TD;
  const int64_t T = x_TD.rows, D = x_TD.cols;
  const auto n = [&](int64_t t, int64_t d) { return (x_TD(t, d) - double{task.mean_T[t]}) * double{task.rstd_T[t]}; };
  const auto g = [&](int64_t t, int64_t d) { return double{task.gamma_D[d]} * dy_TD(t, d); };
  for (int64_t t = 0; t < T; ++t) {
    double mean_g = 0.0, mean_gn = 0.0;
    for (int64_t d = 0; d < D; ++d) {
      mean_g += g(t, d);
      mean_gn += g(t, d) * n(t, d);
    }
    mean_g /= static_cast<double>(D);
    mean_gn /= static_cast<double>(D);
    for (int64_t d = 0; d < D; ++d)
      dx_TD(t, d) += static_cast<real>(double{task.rstd_T[t]} * (g(t, d) - mean_g - n(t, d) * mean_gn));
  }
  round_gradient<real>(task.dx_TD, task.rounded);
  for (int64_t d = 0; d < D; ++d) {
    double dgamma = 0.0, dbeta = 0.0;
    for (int64_t t = 0; t < T; ++t) {
      dgamma += dy_TD(t, d) * n(t, d);
      dbeta += dy_TD(t, d);
    }
    if (!task.dgamma_D.empty()) task.dgamma_D[d] += static_cast<real>(dgamma);
    if (!task.dbeta_D.empty()) task.dbeta_D[d] += static_cast<real>(dbeta);
  }
}

}  // namespace troupe::ref
