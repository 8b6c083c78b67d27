// Small passes; tasks are those of ops/elementwise.h.
#pragma once

#include <cstdint>

namespace troupe::ref {

template <class Task>
void dropout_backward(const Task& task) {
  const auto& [dx, dropout, dy] = task;
  for (int64_t t = 0; t < dx.rows; ++t)
    for (int64_t d = 0; d < dx.cols; ++d)
      dy(t, d) = static_cast<typename Task::operand>(dx(t, d) *
                                                     static_cast<typename Task::real>(dropout.scale(t, d, dx.cols)));
}

template <class Task>
void fill(const Task& task) {
  for (int64_t i = 0; i < task.x.rows; ++i)
    for (int64_t j = 0; j < task.x.cols; ++j) task.x(i, j) = task.value;
}

template <class Task>
void copy(const Task& task) {
  for (int64_t i = 0; i < task.dst.rows; ++i)
    for (int64_t j = 0; j < task.dst.cols; ++j) task.dst(i, j) = task.src(i, j);
}

template <class Task>
void sum(const Task& task) {
  *task.sum = 0.0;
  for (const auto value : task.values) *task.sum += static_cast<double>(value);
}

}  // namespace troupe::ref
