// Rows between tokens and experts as their equations read; tasks are those of ops/moe_rows.h. Sums are in double.
#pragma once

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

}  // namespace troupe::ref
