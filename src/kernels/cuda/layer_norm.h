// Layer norm (ops/layer_norm.h): forward a block a row, of one warp, which waits for no other; backward a block a chunk
// of tokens, in whose order sums over them are.
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

// dx, and what a chunk of tokens adds to the gradients of gamma and beta, in one reading: a thread has kFours columns
// of four, of kRows tokens at a time.
template <int kFours>
struct LayerNormBackwardKernel {
  static constexpr int kThreads = 256, kRows = kFours == 1 ? 2 : 1;
  static constexpr int64_t kMostColumns = 4 * kFours * kThreads, kTokenChunk = 32;
  using Shared = NoShared;

  View<const float> x;  // of at most kMostColumns
  const float *gamma, *mean_T, *rstd_T;
  View<const float> dy;
  View<float> dx;
  float* parts;  // [chunks, 2, D]: [dgamma, dbeta]; or nullptr

  int64_t chunks() const { return blocks_of(x.rows, kTokenChunk); }
  int64_t blocks() const { return chunks(); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t D = x.cols, begin = block.index() * kTokenChunk;
    const int64_t end = begin + kTokenChunk < x.rows ? begin + kTokenChunk : x.rows;
    using Columns = float[kFours][4];
    PerThread<Columns, kThreads> scale, dgamma, dbeta;
    block.each([&](int thread) {
      for (int j = 0; j < kFours; ++j) {
        const int64_t d = column(thread, j);
        load_four(gamma + d, four_at(d, D), scale[thread][j]);
        for (int i = 0; i < 4; ++i) dgamma[thread][j][i] = dbeta[thread][j][i] = 0.0f;
      }
    });
    for (int64_t first = begin; first < end; first += kRows) {
      const int rows = static_cast<int>(end - first < kRows ? end - first : kRows);
      PerThread<Columns[kRows], kThreads> g, n, sum;  // gamma dy, the normalised x, dx
      PerThread<float[2 * kRows], kThreads> part;
      block.each([&](int thread) {
        for (int r = 0; r < kRows; ++r)
          for (int j = 0; j < kFours; ++j) {
            const int64_t d = column(thread, j);
            const int count = r < rows ? four_at(d, D) : 0;
            load_four(dy.row(first + r) + d, count, g[thread][r][j]);
            load_four(x.row(first + r) + d, count, n[thread][r][j]);
            load_four(dx.row(first + r) + d, count, sum[thread][r][j]);
          }
        for (int r = 0; r < kRows; ++r) {
          const float mean = r < rows ? mean_T[first + r] : 0.0f, rstd = r < rows ? rstd_T[first + r] : 0.0f;
          float of_g = 0.0f, of_gn = 0.0f;
          for (int j = 0; j < kFours; ++j)
            for (int i = 0; i < 4; ++i) {
              float &g_i = g[thread][r][j][i], &n_i = n[thread][r][j][i];  // g is 0 where there is none
              n_i = (n_i - mean) * rstd;
              dgamma[thread][j][i] += g_i * n_i;
              dbeta[thread][j][i] += g_i;
              g_i *= scale[thread][j][i];
              of_g += g_i, of_gn += g_i * n_i;
            }
          part[thread][2 * r] = of_g, part[thread][2 * r + 1] = of_gn;
        }
      });
      float totals[2 * kRows];
      block.sum_each(part, totals);
      block.each([&](int thread) {
        for (int r = 0; r < kRows; ++r) {
          if (r >= rows) break;
          const float rstd = rstd_T[first + r];
          const float mean_g = totals[2 * r] / static_cast<float>(D),
                      mean_gn = totals[2 * r + 1] / static_cast<float>(D);
          for (int j = 0; j < kFours; ++j) {
            const int64_t d = column(thread, j);
            float(&to)[4] = sum[thread][r][j];
            for (int i = 0; i < 4; ++i) to[i] += rstd * (g[thread][r][j][i] - mean_g - n[thread][r][j][i] * mean_gn);
            store_four(dx.row(first + r) + d, four_at(d, D), to);
          }
        }
      });
    }
    if (!parts) return;
    block.each([&](int thread) {
      for (int j = 0; j < kFours; ++j) {
        const int64_t d = column(thread, j);
        float* const of_chunk = parts + block.index() * 2 * D + d;
        store_four(of_chunk, four_at(d, D), dgamma[thread][j]);
        store_four(of_chunk + D, four_at(d, D), dbeta[thread][j]);
      }
    });
  }

 private:
  static TROUPE_KERNEL int64_t column(int thread, int j) { return 4 * (thread + j * kThreads); }
};

// sum[i] += parts[0][i] + parts[1][i] + ...: kLanes sums of every part of so many, which are then added in order.
// Columns from `count` on, of which there are as many, are those of `second`.
struct AddPartsKernel {
  static constexpr int kThreads = 1024, kColumns = 32, kLanes = kThreads / kColumns;
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
