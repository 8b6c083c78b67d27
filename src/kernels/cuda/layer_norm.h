// Layer norm (ops/layer_norm.h): a block a row, forward of one warp, which waits for no other; sums over tokens over
// fixed chunks in order.
#pragma once

#include <cmath>

#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

template <class operand>
struct LayerNormForwardKernel {
  static constexpr int kThreads = kWarp;
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
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float four[4];
        load_four(row + d, four_at(d, D), four);
        part[thread] += (four[0] + four[1]) + (four[2] + four[3]);
      }
    });
    const float mean = block.sum(part) / static_cast<float>(D);
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float four[4];
        const int count = four_at(d, D);
        load_four(row + d, count, four);
        for (int i = 0; i < 4; ++i)
          if (i < count) part[thread] += (four[i] - mean) * (four[i] - mean);
      }
    });
    const float variance = block.sum(part) / static_cast<float>(D);
    const float rstd = 1.0f / sqrtf(variance + static_cast<float>(epsilon));
    block.each([&](int thread) {
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float four[4], scale[4], shift[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        const int count = four_at(d, D);
        load_four(row + d, count, four);
        load_four(gamma + d, count, scale);
        if (beta) load_four(beta + d, count, shift);
        for (int i = 0; i < 4; ++i) four[i] = (four[i] - mean) * rstd * scale[i] + shift[i];
        if (y.data) store_four(&y(t, d), count, four);
        if (y_real.data) store_four(&y_real(t, d), count, four);
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
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float g[4], n[4];
        load(t, d, mean, rstd, g, n);
        for (int i = 0; i < 4; ++i) of_g[thread] += g[i], of_gn[thread] += g[i] * n[i];  // g is 0 where there is none
      }
    });
    const float mean_g = block.sum(of_g) / static_cast<float>(D), mean_gn = block.sum(of_gn) / static_cast<float>(D);
    block.each([&](int thread) {
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float g[4], n[4], sum[4];
        load(t, d, mean, rstd, g, n);
        load_four(&dx(t, d), four_at(d, D), sum);
        for (int i = 0; i < 4; ++i) sum[i] += rstd * (g[i] - mean_g - n[i] * mean_gn);
        store_four(&dx(t, d), four_at(d, D), sum);
      }
    });
  }

 private:
  // g = gamma dy and n = the normalised x.
  TROUPE_KERNEL void load(int64_t t, int64_t d, float mean, float rstd, float (&g)[4], float (&n)[4]) const {
    float scale[4];
    const int count = four_at(d, x.cols);
    load_four(gamma + d, count, scale);
    load_four(&dy(t, d), count, g);
    load_four(&x(t, d), count, n);
    for (int i = 0; i < 4; ++i) g[i] *= scale[i], n[i] = (n[i] - mean) * rstd;
  }
};

// parts[chunk] gets [dgamma, dbeta] of the chunk's tokens: eight of them at a time for 128 columns.
struct LayerNormPartsKernel {
  static constexpr int kThreads = 256, kLanes = 8, kFours = kThreads / kLanes, kColumns = 4 * kFours;
  static constexpr int64_t kTokenChunk = 64;
  struct Shared {
    float gamma[kLanes][kColumns], beta[kLanes][kColumns];
  };

  View<const float> x;
  const float *mean_T, *rstd_T;
  View<const float> dy;
  float* parts;  // [chunks, 2, D]

  int64_t chunks() const { return blocks_of(x.rows, kTokenChunk); }
  int64_t blocks() const { return chunks() * blocks_of(x.cols, kColumns); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t D = x.cols, column_blocks = (D + kColumns - 1) / kColumns;
    const int64_t chunk = block.index() / column_blocks, begin = chunk * kTokenChunk;
    const int64_t end = begin + kTokenChunk < x.rows ? begin + kTokenChunk : x.rows;
    const int64_t d0 = block.index() % column_blocks * kColumns;
    block.each([&](int thread) {
      const int lane = thread / kFours, at = thread % kFours * 4;
      const int count = four_at(d0 + at, D);
      float gamma[4] = {0.0f, 0.0f, 0.0f, 0.0f}, beta[4] = {0.0f, 0.0f, 0.0f, 0.0f}, g[4], n[4];
      for (int64_t t = begin + lane; count > 0 && t < end; t += kLanes) {
        load_four(&dy(t, d0 + at), count, g);
        load_four(&x(t, d0 + at), count, n);
        for (int i = 0; i < 4; ++i) gamma[i] += g[i] * ((n[i] - mean_T[t]) * rstd_T[t]), beta[i] += g[i];
      }
      for (int i = 0; i < 4; ++i) shared.gamma[lane][at + i] = gamma[i], shared.beta[lane][at + i] = beta[i];
    });
    block.each([&](int thread) {
      const int at = thread % kColumns;
      const bool of_gamma = thread < kColumns;
      if (d0 + at >= D) return;
      float sum = 0.0f;
      for (int lane = 0; lane < kLanes; ++lane) sum += of_gamma ? shared.gamma[lane][at] : shared.beta[lane][at];
      parts[(chunk * 2 + (of_gamma ? 0 : 1)) * D + d0 + at] = sum;
    });
  }
};

// sum[i] += parts[0][i] + parts[1][i] + ...: eight sums of every eighth part, which are then added in order. Columns
// from `count` on, of which there are as many, are those of `second`.
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
