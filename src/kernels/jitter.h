// Noise on the router's inputs on the host (ops/jitter.h), four columns for one block of random words.
#pragma once

#include <array>
#include <cstdint>

#include "base/rng.h"
#include "base/threads.h"
#include "tensor/host_matrix.h"

namespace troupe::host {

template <class Task>
void jitter(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> x_TD = task.x_TD;
  constexpr int64_t kJitterChunk = 64;
  parallel_chunks(x_TD.rows, kJitterChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto first = static_cast<uint64_t>((task.first_row + t) * x_TD.cols);
      std::array<uint32_t, 4> words = philox(task.key, first >> 2);
      for (int64_t d = 0; d < x_TD.cols; ++d) {
        const uint64_t i = first + static_cast<uint64_t>(d);
        if ((i & 3) == 0) words = philox(task.key, i >> 2);
        const double u = static_cast<double>(words[i & 3] >> 8) * 0x1.0p-24;
        x_TD(t, d) *= static_cast<real>(1.0 - task.amount + 2.0 * task.amount * u);
      }
    }
  });
}

}  // namespace troupe::host
