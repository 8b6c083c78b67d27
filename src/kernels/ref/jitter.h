// Noise on the router's inputs as its equation reads (ops/jitter.h).
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "tensor/host_matrix.h"

namespace troupe::ref {

// x *= 1 - amount + 2 amount u,  u = the upper 24 bits of word i % 4 of philox(key, i / 4), i the element's number
template <class Task>
void jitter(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> x_TD = task.x_TD;
  for (int64_t t = 0; t < x_TD.rows; ++t)
    for (int64_t d = 0; d < x_TD.cols; ++d) {
      const auto i = static_cast<uint64_t>((task.first_row + t) * x_TD.cols + d);
      const double u = (philox(task.key, i / 4)[i % 4] >> 8) / 16777216.0;
      x_TD(t, d) *= static_cast<real>(1.0 - task.amount + 2.0 * task.amount * u);
    }
}

}  // namespace troupe::ref
