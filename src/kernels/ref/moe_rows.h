// Rows between tokens and experts as their equations read; tasks are those of ops/moe_rows.h. Sums are in double.
#pragma once

#include <cstdint>

namespace troupe::ref {

template <class Task>
void gather_rows(const Task& task) {
  for (int64_t r = 0; r < task.xe_RD.rows; ++r)
    for (int64_t d = 0; d < task.xe_RD.cols; ++d) task.xe_RD(r, d) = task.x_TD(task.rows.token_of_R[r], d);
}

template <class Task>
void gather_rows_backward(const Task& task) {
  for (int64_t t = 0; t < task.dx_TD.rows; ++t)
    for (int64_t d = 0; d < task.dx_TD.cols; ++d) {
      double sum = task.dx_TD(t, d);
      for (const int32_t row : task.rows.rows_of(t)) sum += task.dxe_RD(row, d);
      task.dx_TD(t, d) = static_cast<typename Task::real>(sum);
    }
}

template <class Task>
void combine_rows(const Task& task) {
  for (int64_t t = 0; t < task.out_TD.rows; ++t)
    for (int64_t d = 0; d < task.out_TD.cols; ++d) {
      double sum = task.residual_TD(t, d);
      for (const int32_t row : task.rows.rows_of(t))
        sum += double{task.rows.weight_R[row]} * task.ye_RD(row, d) *
               task.dropout.scale(task.rows.element_of(row), d, task.out_TD.cols);
      task.out_TD(t, d) = static_cast<typename Task::real>(sum);
    }
}

template <class Task>
void combine_rows_backward(const Task& task) {
  using real = typename Task::real;
  const int64_t D = task.dout_TD.cols;
  for (int32_t r = 0; r < task.dye_RD.rows; ++r) {
    const double weight = task.rows.weight_R[r];
    double dweight = 0.0;
    for (int64_t d = 0; d < D; ++d) {
      const double dy = double{task.dout_TD(task.rows.token_of_R[r], d)} *
                        task.dropout.scale(task.rows.element_of(r), d, D);
      task.dye_RD(r, d) = static_cast<typename Task::operand>(static_cast<real>(weight * dy));
      dweight += dy * task.ye_RD(r, d);
    }
    task.dweight_R[r] = static_cast<real>(dweight);
  }
}

}  // namespace troupe::ref
