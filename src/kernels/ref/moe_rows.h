// Rows between tokens and experts as their equations read; tasks are those of ops/moe_rows.h. Sums are in double.
#pragma once

#include <cstdint>

namespace troupe::ref {

template <class Task>
void gather_rows(const Task& task) {
  for (int64_t r = 0; r < task.xe_RD.rows; ++r)
    for (int64_t d = 0; d < task.xe_RD.cols; ++d) task.xe_RD(r, d) = task.x_TD(task.source_of_R[r] / task.K, d);
}

template <class Task>
void gather_rows_backward(const Task& task) {
  for (int64_t t = 0; t < task.dx_TD.rows; ++t)
    for (int64_t d = 0; d < task.dx_TD.cols; ++d) {
      double sum = task.dx_TD(t, d);
      for (int64_t k = 0; k < task.K; ++k)
        if (const int32_t row = task.row_of_TK[t * task.K + k]; row >= 0) sum += task.dxe_RD(row, d);
      task.dx_TD(t, d) = static_cast<typename Task::real>(sum);
    }
}

template <class Task>
void combine_rows(const Task& task) {
  for (int64_t t = 0; t < task.out_TD.rows; ++t)
    for (int64_t d = 0; d < task.out_TD.cols; ++d) {
      double sum = task.residual_TD(t, d);
      for (int64_t i = t * task.K; i < (t + 1) * task.K; ++i) {
        const int32_t row = task.row_of_TK[i];
        if (row < 0) continue;
        sum += double{task.weight_TK[i]} * task.ye_RD(row, d) * task.dropout.scale(i, d, task.out_TD.cols);
      }
      task.out_TD(t, d) = static_cast<typename Task::real>(sum);
    }
}

template <class Task>
void combine_rows_backward(const Task& task) {
  using real = typename Task::real;
  const int64_t T = task.dout_TD.rows, D = task.dout_TD.cols;
  for (int64_t i = 0; i < T * task.K; ++i) {
    double dweight = 0.0;
    if (const int32_t row = task.row_of_TK[i]; row >= 0)
      for (int64_t d = 0; d < D; ++d) {
        const double dy = double{task.dout_TD(i / task.K, d)} * task.dropout.scale(i, d, D);
        task.dye_RD(row, d) = static_cast<typename Task::operand>(static_cast<real>(double{task.weight_TK[i]} * dy));
        dweight += dy * task.ye_RD(row, d);
      }
    task.dweight_TK[i] = static_cast<real>(dweight);
  }
}

}  // namespace troupe::ref
