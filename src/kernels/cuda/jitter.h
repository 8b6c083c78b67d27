// Noise on the router's inputs (ops/jitter.h).
#pragma once

#include "base/rng.h"
#include "kernels/cuda/grid.h"

namespace troupe::cuda {

struct JitterKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  double amount;
  uint64_t key;
  int64_t first_row;
  View<float> x;

  int64_t blocks() const { return blocks_of(x.rows * x.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, x.rows * x.cols, [&](int64_t at) {
      const auto i = static_cast<uint64_t>(first_row * x.cols + at);
      const double u = static_cast<double>(philox(key, i >> 2)[i & 3] >> 8) * 0x1.0p-24;
      x(at / x.cols, at % x.cols) *= static_cast<float>(1.0 - amount + 2.0 * amount * u);
    });
  }
};

}  // namespace troupe::cuda
