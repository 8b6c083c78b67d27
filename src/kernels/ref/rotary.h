// Rotary positions as their equations read; tasks are those of ops/rotary.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class Task>
void rotary(const Task& task) {
  using operand = typename Task::operand;
  const HostMatrix<operand> x_TNC = task.x_TNC;
  const HostMatrix<const typename Task::real> table_PR = task.table_PR;
  const int64_t half = table_PR.cols / 2;
  for (int64_t t = 0; t < x_TNC.rows; ++t)
    for (int64_t head = 0; head < x_TNC.cols; head += task.C)
      for (int64_t j = 0; j < half; ++j) {
        const double cos = table_PR(task.positions_T[t], j);
        const double sin = (task.backward ? -1.0 : 1.0) * table_PR(task.positions_T[t], half + j);
        operand& first = x_TNC(t, head + j);
        operand& second = x_TNC(t, head + half + j);
        const auto a = static_cast<double>(first), b = static_cast<double>(second);
        first = static_cast<operand>(static_cast<typename Task::real>(a * cos - b * sin));
        second = static_cast<operand>(static_cast<typename Task::real>(b * cos + a * sin));
      }
}

template <class Task>
void rotary_table(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> table_PR = task.table_PR;
  const int64_t half = table_PR.cols / 2;
  for (int64_t p = 0; p < table_PR.rows; ++p)
    for (int64_t j = 0; j < half; ++j) {
      const double angle = static_cast<float>(task.first + p) * task.frequencies[j];
      table_PR(p, j) = static_cast<real>(task.factor * static_cast<float>(std::cos(angle)));
      table_PR(p, half + j) = static_cast<real>(task.factor * static_cast<float>(std::sin(angle)));
    }
}

}  // namespace troupe::ref
