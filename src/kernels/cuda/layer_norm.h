// Layer norm (ops/layer_norm.h): a block a row; sums over tokens over fixed chunks in order.
#pragma once

#include <cmath>

#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

template <class operand>
struct LayerNormForwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> x;
  const float *gamma, *beta;  // beta may be nullptr
  double epsilon;
  View<operand> y;  // the last four may be nullptr
  View<float> y_real;
  float *mean_T, *rstd_T;

  int64_t blocks() const { return x.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = x.cols;
    const float* const row = x.row(t);
    PerThread<float, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t d = thread; d < D; d += kThreads) part[thread] += row[d];
    });
    const float mean = block.sum(part) / static_cast<float>(D);
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t d = thread; d < D; d += kThreads) part[thread] += (row[d] - mean) * (row[d] - mean);
    });
    const float variance = block.sum(part) / static_cast<float>(D);
    const float rstd = 1.0f / sqrtf(variance + static_cast<float>(epsilon));
    block.each([&](int thread) {
      for (int64_t d = thread; d < D; d += kThreads) {
        const float value = (row[d] - mean) * rstd * gamma[d] + (beta ? beta[d] : 0.0f);
        if (y.data) y(t, d) = static_cast<operand>(value);
        if (y_real.data) y_real(t, d) = value;
      }
      if (thread == 0 && mean_T) mean_T[t] = mean;
      if (thread == 0 && rstd_T) rstd_T[t] = rstd;
    });
  }
};

struct LayerNormBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> x;
  const float *gamma, *mean_T, *rstd_T;
  View<const float> dy;
  View<float> dx;

  int64_t blocks() const { return x.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = x.cols;
    const float mean = mean_T[t], rstd = rstd_T[t];
    PerThread<float, kThreads> of_g, of_gn;
    block.each([&](int thread) {
      of_g[thread] = of_gn[thread] = 0.0f;
      for (int64_t d = thread; d < D; d += kThreads) {
        const float g = gamma[d] * dy(t, d);
        of_g[thread] += g;
        of_gn[thread] += g * ((x(t, d) - mean) * rstd);
      }
    });
    const float mean_g = block.sum(of_g) / static_cast<float>(D), mean_gn = block.sum(of_gn) / static_cast<float>(D);
    block.each([&](int thread) {
      for (int64_t d = thread; d < D; d += kThreads)
        dx(t, d) += rstd * (gamma[d] * dy(t, d) - mean_g - (x(t, d) - mean) * rstd * mean_gn);
    });
  }
};

// parts[chunk] gets [dgamma, dbeta] of the chunk's tokens: a thread a column.
struct LayerNormPartsKernel {
  static constexpr int kThreads = 128;
  static constexpr int64_t kTokenChunk = 64;
  using Shared = NoShared;

  View<const float> x;
  const float *mean_T, *rstd_T;
  View<const float> dy;
  float* parts;  // [chunks, 2, D]

  int64_t chunks() const { return blocks_of(x.rows, kTokenChunk); }
  int64_t blocks() const { return chunks() * blocks_of(x.cols, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t D = x.cols, column_blocks = (D + kThreads - 1) / kThreads;
    const int64_t chunk = block.index() / column_blocks, begin = chunk * kTokenChunk;
    const int64_t end = begin + kTokenChunk < x.rows ? begin + kTokenChunk : x.rows;
    block.each([&](int thread) {
      const int64_t d = block.index() % column_blocks * kThreads + thread;
      if (d >= D) return;
      float gamma = 0.0f, beta = 0.0f;
      for (int64_t t = begin; t < end; ++t) {
        gamma += dy(t, d) * ((x(t, d) - mean_T[t]) * rstd_T[t]);
        beta += dy(t, d);
      }
      parts[chunk * 2 * D + d] = gamma;
      parts[(chunk * 2 + 1) * D + d] = beta;
    });
  }
};

// sum[i] += parts[0][i] + parts[1][i] + ...: eight sums of every eighth part, which are then added in order. Columns from
// `count` on, of which there are as many, are those of `second`.
struct AddPartsKernel {
  static constexpr int kThreads = 256, kColumns = 32, kLanes = kThreads / kColumns;
  struct Shared {
    float part[kLanes][kColumns];
  };

  const float* parts;
  int64_t num_parts, stride, count;
  float *sum, *second;  // may be nullptr

  int64_t blocks() const { return num_parts == 0 ? 0 : blocks_of(second ? 2 * count : count, kColumns); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t first = block.index() * kColumns, columns = second ? 2 * count : count;
    block.each([&](int thread) {
      const int64_t i = first + thread % kColumns;
      float total = 0.0f;
      for (int64_t part = thread / kColumns; i < columns && part < num_parts; part += kLanes)
        total += parts[part * stride + i];
      shared.part[thread / kColumns][thread % kColumns] = total;
    });
    block.each([&](int thread) {
      const int64_t i = first + thread;
      float* const into = i < count ? sum : second;
      if (thread >= kColumns || i >= columns || !into) return;
      float total = 0.0f;
      for (int lane = 0; lane < kLanes; ++lane) total += shared.part[lane][thread];
      into[i < count ? i : i - count] += total;
    });
  }
};

}  // namespace troupe::cuda
