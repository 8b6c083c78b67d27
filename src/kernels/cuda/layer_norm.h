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

// dx, what products read of it (ops/rounded_gradient.h, without a mask), and what a chunk of tokens adds to the gradients
// of gamma and beta and to column sums of the former, in one reading: a thread has kFours columns of four, of kRows
// tokens at a time.
template <class operand, int kFours>
struct LayerNormBackwardKernel {
  static constexpr int kThreads = 256, kRows = kFours == 1 ? 2 : 1;
  static constexpr int64_t kMostColumns = 4 * kFours * kThreads, kTokenChunk = 32;
  static constexpr bool kSumsRounded = kFours <= 2;  // with more it would leave room for fewer blocks
  using Shared = NoShared;

  View<const float> x;  // of at most kMostColumns
  const float *gamma, *mean_T, *rstd_T;
  View<const float> dy;
  View<float> dx;
  View<operand> rounded_dx;  // dx times `multiplier`; may be nullptr
  float multiplier;
  float* parts;              // [chunks, num_sums, D]: dgamma, dbeta and, if there are 3, sums of rounded_dx; or nullptr
  int num_sums;

  int64_t chunks() const { return blocks_of(x.rows, kTokenChunk); }
  int64_t blocks() const { return chunks(); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t D = x.cols, begin = block.index() * kTokenChunk;
    const int64_t end = begin + kTokenChunk < x.rows ? begin + kTokenChunk : x.rows;
    using Columns = float[kFours][4];
    PerThread<Columns, kThreads> scale, dgamma, dbeta, sums;
    block.each([&](int thread) {
      for (int j = 0; j < kFours; ++j) {
        const int64_t d = column(thread, j);
        load_four(gamma + d, four_at(d, D), scale[thread][j]);
        for (int i = 0; i < 4; ++i) dgamma[thread][j][i] = dbeta[thread][j][i] = sums[thread][j][i] = 0.0f;
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
            if (!rounded_dx.data) continue;
            for (int i = 0; i < 4; ++i) {
              to[i] = static_cast<float>(rounded<operand>(to[i] * multiplier));
              if constexpr (kSumsRounded) sums[thread][j][i] += to[i];
            }
            store_four(rounded_dx.row(first + r) + d, four_at(d, D), to);
          }
        }
      });
    }
    if (!parts) return;
    block.each([&](int thread) {
      for (int j = 0; j < kFours; ++j) {
        const int64_t d = column(thread, j);
        float* const of_chunk = parts + block.index() * num_sums * D + d;
        store_four(of_chunk, four_at(d, D), dgamma[thread][j]);
        store_four(of_chunk + D, four_at(d, D), dbeta[thread][j]);
        if (kSumsRounded && num_sums == 3) store_four(of_chunk + 2 * D, four_at(d, D), sums[thread][j]);
      }
    });
  }

 private:
  static TROUPE_KERNEL int64_t column(int thread, int j) { return 4 * (thread + j * kThreads); }
};

}  // namespace troupe::cuda
