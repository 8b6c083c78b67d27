// Rows between tokens and experts as their equations read; tasks are those of ops/moe_rows.h. Sums are in double.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class Task>
void gather_rows(const Task& task) {
  const HostMatrix x_TD(task.x_TD);
  const HostMatrix xe_RD(task.xe_RD);
  for (int64_t r = 0; r < xe_RD.rows; ++r)
    for (int64_t d = 0; d < xe_RD.cols; ++d) xe_RD(r, d) = x_TD(task.rows.token_of_R[r], d);
}

template <class Task>
void gather_rows_backward(const Task& task) {
  const HostMatrix dxe_RD(task.dxe_RD);
  const HostMatrix dx_TD(task.dx_TD);
  for (int64_t t = 0; t < dx_TD.rows; ++t)
    for (int64_t d = 0; d < dx_TD.cols; ++d) {
      double sum = dx_TD(t, d);
      for (const int32_t row : task.rows.rows_of(t)) sum += dxe_RD(row, d);
      dx_TD(t, d) = static_cast<typename Task::real>(sum);
    }
}

template <class Task>
void combine_rows(const Task& task) {
  const HostMatrix residual_TD(task.residual_TD), ye_RD(task.ye_RD);
  const HostMatrix out_TD(task.out_TD);
  for (int64_t t = 0; t < out_TD.rows; ++t)
    for (int64_t d = 0; d < out_TD.cols; ++d) {
      double sum = residual_TD ? residual_TD(t, d) : 0.0;
      for (const int32_t row : task.rows.rows_of(t))
        sum += double{task.rows.weight_R[row]} * ye_RD(row, d) *
               task.dropout.scale(task.rows.element_of(row), d, out_TD.cols);
      out_TD(t, d) = static_cast<typename Task::real>(sum);
    }
}

template <class Task>
void combine_rows_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> dout_TD = task.dout_TD, ye_RD = task.ye_RD;
  const HostMatrix<typename Task::operand> dye_RD = task.dye_RD;
  const int64_t D = dout_TD.cols;
  for (int32_t r = 0; r < dye_RD.rows; ++r) {
    const double weight = task.rows.weight_R[r];
    double dweight = 0.0;
    for (int64_t d = 0; d < D; ++d) {
      const double dy = double{dout_TD(task.rows.token_of_R[r], d)} *
                        task.dropout.scale(task.rows.element_of(r), d, D);
      dye_RD(r, d) = static_cast<typename Task::operand>(static_cast<real>(weight * dy));
      dweight += dy * ye_RD(r, d);
    }
    task.dweight_R[r] = static_cast<real>(dweight);
  }
}

// sigmoid(gate_t), or 1
template <class real>
double shared_weight(Matrix<const real> gate_T1, int64_t t) {
  return gate_T1 ? 1.0 / (1.0 + std::exp(-double{HostMatrix<const real>(gate_T1)(t, 0)})) : 1.0;
}

template <class Task>
void shared_rows(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> y_TD = task.y_TD;
  const HostMatrix<real> out_TD = task.out_TD;
  for (int64_t t = 0; t < out_TD.rows; ++t)
    for (int64_t d = 0; d < out_TD.cols; ++d)
      out_TD(t, d) += static_cast<real>(shared_weight<real>(task.gate_T1, t) * y_TD(t, d) *
                                        task.dropout.scale(t, d, out_TD.cols));
}

template <class Task>
void shared_rows_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> dout_TD = task.dout_TD, y_TD = task.y_TD;
  const HostMatrix<typename Task::operand> dy_TD = task.dy_TD;
  const HostMatrix<real> dgate_T1 = task.dgate_T1;
  for (int64_t t = 0; t < dout_TD.rows; ++t) {
    const double s = shared_weight<real>(task.gate_T1, t);
    double dot = 0.0;
    for (int64_t d = 0; d < dout_TD.cols; ++d) {
      const double dy = double{dout_TD(t, d)} * task.dropout.scale(t, d, dout_TD.cols);
      dy_TD(t, d) = static_cast<typename Task::operand>(static_cast<real>(s * dy));
      dot += dy * y_TD(t, d);
    }
    if (dgate_T1) dgate_T1(t, 0) = static_cast<real>(s * (1.0 - s) * dot);
  }
}

}  // namespace troupe::ref
