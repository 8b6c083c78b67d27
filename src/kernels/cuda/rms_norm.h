// RMSNorm of rows and of heads (ops/rms_norm.h): a block a row, or a head of it; sums over tokens over fixed chunks in
// order.
#pragma once

#include <cmath>

#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// Rows of heads beside each other, each C columns wide; a row of the residual stream is one head.
struct HeadsOfRows {
  int64_t rows, heads, C;

  int64_t count() const { return rows * heads; }
};

template <class input, class operand>
struct RmsNormForwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  HeadsOfRows size;
  View<const input> x;
  const float* gamma;
  float epsilon;
  View<operand> y;  // the last three may be nullptr
  View<float> y_real;
  float* rstd;

  int64_t blocks() const { return size.count(); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index() / size.heads, first = block.index() % size.heads * size.C;
    PerThread<float, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t c = thread; c < size.C; c += kThreads) {
        const auto value = static_cast<float>(x(t, first + c));
        part[thread] += value * value;
      }
    });
    const float scale = 1.0f / sqrtf(block.sum(part) / static_cast<float>(size.C) + epsilon);
    block.each([&](int thread) {
      for (int64_t c = thread; c < size.C; c += kThreads) {
        const float value = static_cast<float>(x(t, first + c)) * scale * gamma[c];
        if (y.data) y(t, first + c) = static_cast<operand>(value);
        if (y_real.data) y_real(t, first + c) = value;
      }
      if (thread == 0 && rstd) rstd[block.index()] = scale;
    });
  }
};

// dx += rstd (g - n mean(g n)) with `adds`; else dx = that, and dx may be dy. And what products read of dx
// (ops/rounded_gradient.h, without a mask), of which one head is a row.
template <class T, class operand>
struct RmsNormBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  HeadsOfRows size;
  View<const T> x;
  const float *gamma, *rstd;
  View<const T> dy;
  View<T> dx;
  bool adds;
  View<operand> rounded_dx = {};  // dx times `multiplier`; may be nullptr
  float multiplier = 1.0f;

  int64_t blocks() const { return size.count(); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index() / size.heads, first = block.index() % size.heads * size.C;
    const float scale = rstd[block.index()];
    PerThread<float, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t c = thread; c < size.C; c += kThreads)
        part[thread] += gamma[c] * static_cast<float>(dy(t, first + c)) * (static_cast<float>(x(t, first + c)) * scale);
    });
    const float mean = block.sum(part) / static_cast<float>(size.C);
    block.each([&](int thread) {
      for (int64_t c = thread; c < size.C; c += kThreads) {
        const float n = static_cast<float>(x(t, first + c)) * scale;
        const float gradient = scale * (gamma[c] * static_cast<float>(dy(t, first + c)) - n * mean);
        const float sum = adds ? static_cast<float>(dx(t, first + c)) + gradient : gradient;
        dx(t, first + c) = static_cast<T>(sum);
        if (rounded_dx.data) rounded_dx(t, first + c) = rounded<operand>(sum * multiplier);
      }
    });
  }
};

// parts[chunk, c] = dgamma of the chunk's tokens: a thread a column.
template <class T>
struct RmsNormPartsKernel {
  static constexpr int kThreads = 128;
  static constexpr int64_t kTokenChunk = 64;
  using Shared = NoShared;

  HeadsOfRows size;
  View<const T> x;
  const float* rstd;
  View<const T> dy;
  float* parts;

  int64_t chunks() const { return blocks_of(size.rows, kTokenChunk); }
  int64_t blocks() const { return chunks() * blocks_of(size.C, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t column_blocks = (size.C + kThreads - 1) / kThreads, chunk = block.index() / column_blocks;
    const int64_t begin = chunk * kTokenChunk, end = begin + kTokenChunk < size.rows ? begin + kTokenChunk : size.rows;
    block.each([&](int thread) {
      const int64_t c = block.index() % column_blocks * kThreads + thread;
      if (c >= size.C) return;
      float sum = 0.0f;
      for (int64_t t = begin; t < end; ++t)
        for (int64_t head = 0; head < size.heads; ++head)
          sum += static_cast<float>(dy(t, head * size.C + c)) *
                 (static_cast<float>(x(t, head * size.C + c)) * rstd[t * size.heads + head]);
      parts[chunk * size.C + c] = sum;
    });
  }
};

}  // namespace troupe::cuda
