// RMSNorm as its equations read; tasks are those of ops/rms_norm.h. Sums are in double.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/ref/elementwise.h"
#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class T>
double rms_rstd(const T* x, int64_t D, double epsilon) {
  double squares = 0.0;
  for (int64_t d = 0; d < D; ++d) squares += static_cast<double>(x[d]) * static_cast<double>(x[d]);
  return 1.0 / std::sqrt(squares / static_cast<double>(D) + epsilon);
}

template <class Task>
void rms_norm_forward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> x_TD = task.x_TD;
  const HostMatrix<typename Task::operand> y_TD = task.y_TD;
  const HostMatrix<real> y_real_TD = task.y_real_TD;
  for (int64_t t = 0; t < x_TD.rows; ++t) {
    const double rstd = rms_rstd(x_TD.row(t), x_TD.cols, task.epsilon);
    for (int64_t d = 0; d < x_TD.cols; ++d) {
      const auto y = static_cast<real>(x_TD(t, d) * rstd * task.gamma_D[d]);
      if (y_TD) y_TD(t, d) = static_cast<typename Task::operand>(y);
      if (y_real_TD) y_real_TD(t, d) = y;
    }
    if (!task.rstd_T.empty()) task.rstd_T[t] = static_cast<real>(rstd);
  }
}

template <class Task>
void rms_norm_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> x_TD = task.x_TD, dy_TD = task.dy_TD;
  const HostMatrix<real> dx_TD = task.dx_TD;
  const int64_t T = x_TD.rows, D = x_TD.cols;
  std::vector<double> dgamma(static_cast<size_t>(D), 0.0);
  for (int64_t t = 0; t < T; ++t) {
    const double rstd = task.rstd_T[t];
    double mean_gn = 0.0;
    for (int64_t d = 0; d < D; ++d)
      mean_gn += double{task.gamma_D[d]} * dy_TD(t, d) * (x_TD(t, d) * rstd) / static_cast<double>(D);
    for (int64_t d = 0; d < D; ++d) {
      const double n = x_TD(t, d) * rstd;
      dx_TD(t, d) += static_cast<real>(rstd * (double{task.gamma_D[d]} * dy_TD(t, d) - n * mean_gn));
      dgamma[d] += dy_TD(t, d) * n;
    }
  }
  round_gradient<real>(task.dx_TD, task.rounded);
  for (int64_t d = 0; d < D && !task.dgamma_D.empty(); ++d) task.dgamma_D[d] += static_cast<real>(dgamma[d]);
}

template <class Task>
void head_norm_forward(const Task& task) {
  using real = typename Task::real;
  using operand = typename Task::operand;
  const HostMatrix<const operand> x_TNC = task.x_TNC;
  const HostMatrix<operand> y_TNC = task.y_TNC;
  const auto C = static_cast<int64_t>(task.gamma_C.size()), N = x_TNC.cols / C;
  for (int64_t t = 0; t < x_TNC.rows; ++t)
    for (int64_t n = 0; n < N; ++n) {
      const double rstd = rms_rstd(x_TNC.row(t) + n * C, C, task.epsilon);
      for (int64_t c = 0; c < C; ++c)
        y_TNC(t, n * C + c) = static_cast<operand>(
            static_cast<real>(static_cast<double>(x_TNC(t, n * C + c)) * rstd * task.gamma_C[c]));
      task.rstd_TN[t * N + n] = static_cast<real>(rstd);
    }
}

template <class Task>
void head_norm_backward(const Task& task) {
  using real = typename Task::real;
  using operand = typename Task::operand;
  const HostMatrix<const operand> x_TNC = task.x_TNC;
  const HostMatrix<operand> dy_TNC = task.dy_TNC;
  const auto C = static_cast<int64_t>(task.gamma_C.size()), N = x_TNC.cols / C;
  std::vector<double> dgamma(static_cast<size_t>(C), 0.0);
  for (int64_t t = 0; t < x_TNC.rows; ++t)
    for (int64_t h = 0; h < N; ++h) {
      const double rstd = task.rstd_TN[t * N + h];
      const auto n = [&](int64_t c) { return static_cast<double>(x_TNC(t, h * C + c)) * rstd; };
      const auto dy = [&](int64_t c) { return static_cast<double>(dy_TNC(t, h * C + c)); };
      double mean_gn = 0.0;
      for (int64_t c = 0; c < C; ++c) mean_gn += double{task.gamma_C[c]} * dy(c) * n(c) / static_cast<double>(C);
      for (int64_t c = 0; c < C; ++c) {
        dgamma[c] += dy(c) * n(c);
        dy_TNC(t, h * C + c) =
            static_cast<operand>(static_cast<real>(rstd * (double{task.gamma_C[c]} * dy(c) - n(c) * mean_gn)));
      }
    }
  for (int64_t c = 0; c < C && !task.dgamma_C.empty(); ++c) task.dgamma_C[c] += static_cast<real>(dgamma[c]);
}

}  // namespace troupe::ref
