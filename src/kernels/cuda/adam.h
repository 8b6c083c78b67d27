// The optimizer's pass over parameters and the scans of gradients (ops/adam.h). Partial results of fixed chunks; the
// host adds them in order.
#pragma once

#include <cmath>

#include "base/rng.h"
#include "kernels/adam_step.h"
#include "kernels/chance.h"
#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"

namespace troupe::cuda {

TROUPE_KERNEL void adam_update(const AdamCoefficients& c, float g, float& p, float& m, float& v) {
  m = m * c.beta1 + g * c.rest1;
  v = v * c.beta2 + g * g * c.rest2;
  p = p * c.decay - m * c.rate / (sqrtf(v) + c.epsilon);
}

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
      float p_i = p[i], m_i = m[i], v_i = v[i];
      adam_update(c, g[i], p_i, m_i, v_i);
      p[i] = p_i, m[i] = m_i, v[i] = v_i;
    });
  }
};

// A thread takes the four elements whose chances are one call of Philox.
struct AdamBf16Kernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  AdamCoefficients c;
  const float* g;
  int64_t count;
  float* p;
  bf16 *m, *v;
  uint64_t key;
  int64_t first;

  TROUPE_KERNEL int64_t groups() const { return count == 0 ? 0 : (first + count + 3) / 4 - first / 4; }
  int64_t blocks() const { return blocks_of(groups(), kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, groups(), [&](int64_t i) {
      const int64_t group = first / 4 + i, start = 4 * group - first;
      const int64_t begin = start < 0 ? 0 : start, end = start + 4 < count ? start + 4 : count;
      const auto number = static_cast<int>(end - begin);
      float g_i[4], p_i[4], m_i[4], v_i[4];
      load_four(g + begin, number, g_i), load_four(p + begin, number, p_i);
      load_four(m + begin, number, m_i), load_four(v + begin, number, v_i);
      const auto words = philox(key, static_cast<uint64_t>(group));
      for (int j = 0; j < 4; ++j) {
        adam_update(c, g_i[j], p_i[j], m_i[j], v_i[j]);
        const uint32_t word = words[static_cast<size_t>(begin - start + j) & 3];
        m_i[j] = static_cast<float>(round_by_chance(m_i[j], word & 0xFFFF));
        v_i[j] = static_cast<float>(round_by_chance(v_i[j], word >> 16));
      }
      store_four(p + begin, number, p_i), store_four(m + begin, number, m_i), store_four(v + begin, number, v_i);
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
template <class T>
struct FindNonFiniteKernel {
  static constexpr int kThreads = 256;
  using Shared = NoShared;

  const T* values;
  int64_t count;
  int64_t* first;

  int64_t blocks() const { return blocks_of(count, kScanChunk); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t begin = block.index() * kScanChunk, end = begin + kScanChunk < count ? begin + kScanChunk : count;
    PerThread<int64_t, kThreads> found;
    block.each([&](int thread) {
      found[thread] = count;
      for (int64_t i = begin + thread; i < end && found[thread] == count; i += kThreads)
        if (!(fabsf(static_cast<float>(values[i])) <= 3.4028234663852886e38f)) found[thread] = i;
    });
    const int64_t lowest = block.min(found);
    block.each([&](int thread) {
      if (thread == 0) first[block.index()] = lowest;
    });
  }
};

}  // namespace troupe::cuda
