// The optimizer's pass over parameters and the scans of gradients (ops/adam.h). Partial results of fixed chunks; the
// host adds them in order.
#pragma once

#include <cmath>

#include "kernels/adam_step.h"
#include "kernels/cuda/grid.h"

namespace troupe::cuda {

struct AdamKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  AdamCoefficients c;
  const float* g;
  int64_t count;
  float *p, *m, *v;

  int64_t blocks() const { return blocks_of(count, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, count, [&](int64_t i) {
      const float m_i = m[i] * c.beta1 + g[i] * c.rest1;
      const float v_i = v[i] * c.beta2 + g[i] * g[i] * c.rest2;
      p[i] = p[i] * c.decay - m_i * c.rate / (sqrtf(v_i) + c.epsilon);
      m[i] = m_i;
      v[i] = v_i;
    });
  }
};

constexpr int64_t kScanChunk = 1 << 14;  // elements of a block

// sums[chunk] = sum of squares
struct SumOfSquaresKernel {
  static constexpr int kThreads = 256;
  using Shared = NoShared;

  const float* values;
  int64_t count;
  double* sums;

  int64_t blocks() const { return blocks_of(count, kScanChunk); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t begin = block.index() * kScanChunk, end = begin + kScanChunk < count ? begin + kScanChunk : count;
    PerThread<double, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0;
      for (int64_t i = begin + thread; i < end; i += kThreads)
        part[thread] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    });
    const double sum = block.sum(part);
    block.each([&](int thread) {
      if (thread == 0) sums[block.index()] = sum;
    });
  }
};

// first[chunk] = index of the chunk's first value that is not finite, `count` if there is none
struct FindNonFiniteKernel {
  static constexpr int kThreads = 256;
  using Shared = NoShared;

  const float* values;
  int64_t count;
  int64_t* first;

  int64_t blocks() const { return blocks_of(count, kScanChunk); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t begin = block.index() * kScanChunk, end = begin + kScanChunk < count ? begin + kScanChunk : count;
    PerThread<int64_t, kThreads> found;
    block.each([&](int thread) {
      found[thread] = count;
      for (int64_t i = begin + thread; i < end && found[thread] == count; i += kThreads)
        if (!(fabsf(values[i]) <= 3.4028234663852886e38f)) found[thread] = i;
    });
    const int64_t lowest = block.min(found);
    block.each([&](int thread) {
      if (thread == 0) first[block.index()] = lowest;
    });
  }
};

}  // namespace troupe::cuda
