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

}  // namespace troupe::ref
