// Causal attention (ops/attention.h) in bf16 on tensor cores (Dao 2023): a block has a tile of queries, 16 or 32 a
// warp, and meets the keys tile by tile, the next tile on its way while one is used. Backward: one kernel by queries,
// one by keys, both computing the probabilities again; all that is added is added in one order. Rows begin at multiples
// of 16 bytes.
#pragma once

#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/tiles.h"

namespace troupe::cuda {

constexpr float kLog2OfE = 1.4426950408889634f, kLogOf2 = 0.6931471805599453f;

TROUPE_KERNEL float power_of_2(float x) {
#ifdef __CUDACC__
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));  // within 2^-22
  return power;
#else
  return exp2f(x);
#endif
}

// Dropout's factor of a probability, in one place of the code: it is long, and few ask for it.
#ifdef __CUDACC__
__device__ __noinline__
#else
inline
#endif
    float
    dropped(const Dropout& dropout, int64_t row, int64_t column, int64_t width) {
  return dropout.scale(row, column, width);
}

// What the kernels for heads of at most kWidth columns share. A warp owns kRows times 16 rows of its block's: what it
// reads from shared memory serves all of them.
template <int kWidth, int kRows>
struct AttentionTiles {
  static constexpr int kThreads = kAttentionThreads;
  static constexpr int kOwn = 16 * kRows * kThreads / kWarp;         // rows of a block: queries, or keys
  static constexpr int kMet = kWidth <= 64 && kRows == 1 ? 64 : 32;  // of a tile that it meets: what fits
  static constexpr int kSteps = kWidth / 16, kStride = kWidth + 8;
  using Tile = uint16_t[kMet][kStride];
  using Own = TileA[kRows][kSteps];          // a thread's part of the warp's rows of a head
  using OwnSums = TileC[kRows][2 * kSteps];  // and of numbers that become such rows
  using Products = TileC[kRows][2];          // and of products of the warp's rows with 16 met ones
  using Numbers = float[kRows][2];           // one of each row of a thread's part: [m][half]

  // Rows [first, first + kMet) of a head on their way to `tile`; zeros beyond the sequence.
  static TROUPE_KERNEL void start_rows(int thread, const AttentionSizes& s, View<const bf16> matrix, int64_t b,
                                       int64_t first, int64_t head, Tile& tile) {
    constexpr int kChunks = kWidth / 8;
    for (int at = thread; at < kMet * kChunks; at += kThreads) {
      const int64_t i = first + at / kChunks, c = at % kChunks * 8;
      const bool is_there = i < s.S && c < s.C;
      start_copy(&tile[at / kChunks][c], is_there ? matrix.row(b * s.S + i) + head * s.C + c : matrix.data, is_there);
    }
  }
  // The row of value r of a thread's part m, in a block whose rows begin at `first`.
  static TROUPE_KERNEL int64_t own_row(int thread, int64_t first, int m, int r) {
    return first + (thread / kWarp * kRows + m) * 16 + tile_row(thread, r);
  }
  static TROUPE_KERNEL void load_own(int thread, const AttentionSizes& s, View<const bf16> matrix, int64_t b,
                                     int64_t first, int64_t head, Own& rows) {
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const int64_t i = own_row(thread, first, m, 0);
      const bf16* const at = matrix.row(b * s.S + i) + head * s.C;
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        rows[m][step] = load_a(thread, at, i < s.S, at + 8 * matrix.stride, i + 8 < s.S, step * 16, s.C);
    }
  }
  // Rows times scale_of(m, half), rounded.
  template <class ScaleOf>
  static TROUPE_KERNEL void store_own(int thread, const AttentionSizes& s, View<bf16> matrix, int64_t b, int64_t first,
                                      int64_t head, const OwnSums& rows, const ScaleOf& scale_of) {
#pragma unroll
    for (int m = 0; m < kRows; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t i = own_row(thread, first, m, 2 * half);
        if (i >= s.S) continue;
        const float scale = scale_of(m, half);
        bf16* const at = matrix.row(b * s.S + i) + head * s.C;
#pragma unroll
        for (int n = 0; n < 2 * kSteps; ++n) {
          const int c = n * 8 + tile_column(thread, 0);
          const float* const values = &rows[m][n].values[2 * half];
          if (c < s.C) store_pair(at + c, pack_bf16(scale * values[0], scale * values[1]));
        }
      }
  }
  // Of each row, over the threads that have parts of it; each gets it.
  template <class Op>
  static TROUPE_KERNEL void reduce(const Block<kThreads>& block, PerThread<Numbers, kThreads>& numbers, Op op) {
#pragma unroll
    for (int m = 0; m < kRows; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        reduce_rows(
            block, [&](int thread) -> float& { return numbers[thread][m][half]; }, op);
  }
  // [own rows, 16 met ones from `row` on] += own met^T, over the columns of a head; sums(thread, m, n) is part n of
  // two.
  template <class OfSums>
  static TROUPE_KERNEL void add_products(const Block<kThreads>& block, const Tile& met, int row,
                                         PerThread<Own, kThreads>& own, const OfSums& sums) {
    PerThread<TileB[2], kThreads> pair;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      each_alone(block, [&](int thread) { load_b<true, kStride>(thread, &met[row][step * 16], pair[thread]); });
#pragma unroll
      for (int m = 0; m < kRows; ++m)
#pragma unroll
        for (int n = 0; n < 2; ++n)
          multiply_add(
              block, [&](int thread) -> TileC& { return sums(thread, m, n); },
              [&](int thread) -> const TileA& { return own[thread][m][step]; },
              [&](int thread) -> const TileB& { return pair[thread][n]; });
    }
  }
  // [own rows, columns of a head] += factor [own rows, 16 met ones from `row` on] met.
  static TROUPE_KERNEL void add_rows(const Block<kThreads>& block, const Tile& met, int row,
                                     PerThread<TileA[kRows], kThreads>& factor, PerThread<OwnSums, kThreads>& sums) {
    PerThread<TileB[2], kThreads> pair;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      each_alone(block, [&](int thread) { load_b<false, kStride>(thread, &met[row][step * 16], pair[thread]); });
#pragma unroll
      for (int m = 0; m < kRows; ++m)
#pragma unroll
        for (int n = 0; n < 2; ++n)
          multiply_add(
              block, [&](int thread) -> TileC& { return sums[thread][m][2 * step + n]; },
              [&](int thread) -> const TileA& { return factor[thread][m]; },
              [&](int thread) -> const TileB& { return pair[thread][n]; });
    }
  }
};

template <class Rows>
TROUPE_KERNEL void clear(Rows& rows) {
  for (auto& row : rows)
    for (TileC& tile : row) tile = {};
}

// Whether every query of [i, i_last] sees every key of [j, j_last], so that no one needs to ask.
TROUPE_KERNEL bool all_seen(const AttentionSizes& s, int64_t i, int64_t i_last, int64_t j, int64_t j_last) {
  return !s.key_valid && !s.key_end && j_last <= i && i_last < s.S && (s.window <= 0 || i_last - j < s.window);
}

template <int kWidth>
struct AttentionForwardTilesKernel {
  static constexpr int kRows = kWidth <= 64 ? 2 : 1;
  using Tiles = AttentionTiles<kWidth, kRows>;
  static constexpr int kThreads = Tiles::kThreads, kOwn = Tiles::kOwn, kMet = Tiles::kMet, kSteps = Tiles::kSteps;
  struct alignas(16) Shared {
    typename Tiles::Tile k[2], v[2];
  };

  AttentionSizes s;
  View<const bf16> q, k, v;
  View<bf16> ctx;
  float* lse;

  int64_t blocks() const { return s.B * s.H * blocks_of(s.S, kOwn); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    // The last queries, which have the most keys, first.
    const int64_t i0 = ((s.S + kOwn - 1) / kOwn - 1 - block.index() / (s.B * s.H)) * kOwn;
    const int64_t h = block.index() % s.H, b = block.index() / s.H % s.B, g = h / (s.H / s.G);
    const int64_t end = i0 + kOwn < s.S ? i0 + kOwn : s.S, j_first = s.first_key(i0) / kMet * kMet;
    const float scale = s.scale * kLog2OfE;  // of logits, whose powers of 2 are taken
    PerThread<typename Tiles::Own, kThreads> own;
    PerThread<typename Tiles::OwnSums, kThreads> sums;
    PerThread<TileC[kRows][kMet / 8], kThreads> p;
    PerThread<typename Tiles::Numbers, kThreads> max, sum, tile_max;
    PerThread<TileA[kRows], kThreads> factor;
    each_alone(block, [&](int thread) {
      Tiles::load_own(thread, s, q, b, i0, h, own[thread]);
      clear(sums[thread]);
#pragma unroll
      for (int m = 0; m < kRows; ++m)
        for (int half = 0; half < 2; ++half) max[thread][m][half] = -INFINITY, sum[thread][m][half] = 0.0f;
      Tiles::start_rows(thread, s, k, b, j_first, g, shared.k[0]);
      Tiles::start_rows(thread, s, v, b, j_first, g, shared.v[0]);
    });
    int now = 0;
    for (int64_t j0 = j_first; j0 < end; j0 += kMet, now ^= 1) {
      block.each([&](int) { wait_for_copies(); });
      each_alone(block, [&](int thread) {
        if (j0 + kMet < end) {
          Tiles::start_rows(thread, s, k, b, j0 + kMet, g, shared.k[now ^ 1]);
          Tiles::start_rows(thread, s, v, b, j0 + kMet, g, shared.v[now ^ 1]);
        }
        clear(p[thread]);
      });
#pragma unroll
      for (int part = 0; part < kMet / 16; ++part)
        Tiles::add_products(block, shared.k[now], part * 16, own,
                            [&](int thread, int m, int n) -> TileC& { return p[thread][m][2 * part + n]; });
      const bool all = all_seen(s, i0, i0 + kOwn - 1, j0, j0 + kMet - 1);
      each_alone(block, [&](int thread) {
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
          for (int half = 0; half < 2; ++half) tile_max[thread][m][half] = -INFINITY;
#pragma unroll
          for (int n = 0; n < kMet / 8; ++n)
#pragma unroll
            for (int r = 0; r < 4; ++r) {
              float& logit = p[thread][m][n].values[r];
              const bool seen = all || s.sees(b, Tiles::own_row(thread, i0, m, r), j0 + n * 8 + tile_column(thread, r));
              logit = seen ? scale * logit : -INFINITY;
              if (logit > tile_max[thread][m][r / 2]) tile_max[thread][m][r / 2] = logit;
            }
        }
      });
      Tiles::reduce(block, tile_max, Max());
      each_alone(block, [&](int thread) {
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
          float shrink[2], base[2];
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float new_max = Max()(max[thread][m][half], tile_max[thread][m][half]);
            base[half] = new_max == -INFINITY ? 0.0f : new_max;
            shrink[half] = power_of_2(max[thread][m][half] - base[half]);
            max[thread][m][half] = new_max;
            sum[thread][m][half] *= shrink[half];
          }
#pragma unroll
          for (int n = 0; n < kMet / 8; ++n)
#pragma unroll
            for (int r = 0; r < 4; ++r) {
              float& value = p[thread][m][n].values[r];
              value = power_of_2(value - base[r / 2]);
              sum[thread][m][r / 2] += value;
              if (s.dropout.active())
                value *= dropped(s.dropout, s.stat_row(b, h, Tiles::own_row(thread, i0, m, r)),
                                 j0 + n * 8 + tile_column(thread, r), s.S);
            }
#pragma unroll
          for (int n = 0; n < 2 * kSteps; ++n)
#pragma unroll
            for (int r = 0; r < 4; ++r) sums[thread][m][n].values[r] *= shrink[r / 2];
        }
      });
#pragma unroll
      for (int part = 0; part < kMet / 16; ++part) {
        each_alone(block, [&](int thread) {
#pragma unroll
          for (int m = 0; m < kRows; ++m)
            factor[thread][m] = as_factor(p[thread][m][2 * part], p[thread][m][2 * part + 1]);
        });
        Tiles::add_rows(block, shared.v[now], part * 16, factor, sums);
      }
    }
    Tiles::reduce(block, sum, Add());
    each_alone(block, [&](int thread) {
#pragma unroll
      for (int m = 0; m < kRows; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t i = Tiles::own_row(thread, i0, m, 2 * half);
          const float total = sum[thread][m][half];
          if (thread % 4 == 0 && i < s.S)
            lse[s.stat_row(b, h, i)] = total == 0.0f ? -INFINITY : max[thread][m][half] * kLogOf2 + logf(total);
        }
      const float multiplier = s.dropout.active() ? 1.0f : s.dropout.multiplier;
      Tiles::store_own(thread, s, ctx, b, i0, h, sums[thread], [&](int m, int half) {
        const float total = sum[thread][m][half];
        return total == 0.0f ? 0.0f : multiplier / total;
      });
    });
  }
};

struct QueryAndKey {
  int64_t i, j;
  float lse, delta;
};

// p~ and dl (ops/attention.h) of a warp's rows and 16 met ones from their products q k and dctx v; at(m, n, r) are the
// query and the key of a value.
template <int kRows, class At>
TROUPE_KERNEL void attention_gradients(const AttentionSizes& s, int64_t b, int64_t h, bool all, const At& place,
                                       TileC (&p)[kRows][2], TileC (&dl)[kRows][2]) {
#pragma unroll
  for (int m = 0; m < kRows; ++m)
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const QueryAndKey at = place(m, n, r);
        float probability = 0.0f, gradient = 0.0f;
        if (all || s.sees(b, at.i, at.j)) {
          const float value = power_of_2(s.scale * kLog2OfE * p[m][n].values[r] - kLog2OfE * at.lse);
          const float mask =
              s.dropout.active() ? dropped(s.dropout, s.stat_row(b, h, at.i), at.j, s.S) : s.dropout.multiplier;
          probability = mask * value;
          gradient = value * (mask * dl[m][n].values[r] - at.delta);
        }
        p[m][n].values[r] = probability, dl[m][n].values[r] = gradient;
      }
}

// Also writes delta, which the kernel by keys reads.
template <int kWidth>
struct AttentionQueryGradientTilesKernel {
  static constexpr int kRows = 1;
  using Tiles = AttentionTiles<kWidth, kRows>;
  static constexpr int kThreads = Tiles::kThreads, kOwn = Tiles::kOwn, kMet = Tiles::kMet, kSteps = Tiles::kSteps;
  struct alignas(16) Shared {
    typename Tiles::Tile k[2], v[2];
  };

  AttentionSizes s;
  View<const bf16> q, k, v, ctx, dctx;
  const float* lse;
  float* delta;
  View<bf16> dq;

  int64_t blocks() const { return s.B * s.H * blocks_of(s.S, kOwn); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t i0 = ((s.S + kOwn - 1) / kOwn - 1 - block.index() / (s.B * s.H)) * kOwn;
    const int64_t h = block.index() % s.H, b = block.index() / s.H % s.B, g = h / (s.H / s.G);
    const int64_t end = i0 + kOwn < s.S ? i0 + kOwn : s.S, j_first = s.first_key(i0) / kMet * kMet;
    PerThread<typename Tiles::Own, kThreads> own_q, own_dctx;
    PerThread<typename Tiles::OwnSums, kThreads> sums;
    PerThread<typename Tiles::Products, kThreads> p, dl;
    PerThread<typename Tiles::Numbers, kThreads> own_lse, own_delta;
    PerThread<TileA[kRows], kThreads> factor;
    each_alone(block, [&](int thread) {
      Tiles::start_rows(thread, s, k, b, j_first, g, shared.k[0]);
      Tiles::start_rows(thread, s, v, b, j_first, g, shared.v[0]);
      typename Tiles::Own own_ctx;
      Tiles::load_own(thread, s, q, b, i0, h, own_q[thread]);
      Tiles::load_own(thread, s, dctx, b, i0, h, own_dctx[thread]);
      Tiles::load_own(thread, s, ctx, b, i0, h, own_ctx);
      clear(sums[thread]);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        for (int half = 0; half < 2; ++half) {
          const int64_t i = Tiles::own_row(thread, i0, m, 2 * half);
          own_lse[thread][m][half] = i < s.S ? lse[s.stat_row(b, h, i)] : 0.0f;
          own_delta[thread][m][half] = 0.0f;
        }
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const uint32_t x = own_ctx[m][step].words[r], y = own_dctx[thread][m][step].words[r];
            own_delta[thread][m][r % 2] += low_of(x) * low_of(y) + high_of(x) * high_of(y);
          }
      }
    });
    Tiles::reduce(block, own_delta, Add());
    each_alone(block, [&](int thread) {
#pragma unroll
      for (int m = 0; m < kRows; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t i = Tiles::own_row(thread, i0, m, 2 * half);
          if (thread % 4 == 0 && i < s.S) delta[s.stat_row(b, h, i)] = own_delta[thread][m][half];
        }
    });
    int now = 0;
    for (int64_t j0 = j_first; j0 < end; j0 += kMet, now ^= 1) {
      block.each([&](int) { wait_for_copies(); });
      each_alone(block, [&](int thread) {
        if (j0 + kMet < end) {
          Tiles::start_rows(thread, s, k, b, j0 + kMet, g, shared.k[now ^ 1]);
          Tiles::start_rows(thread, s, v, b, j0 + kMet, g, shared.v[now ^ 1]);
        }
      });
      const bool all = all_seen(s, i0, i0 + kOwn - 1, j0, j0 + kMet - 1);
      for (int row = 0; row < kMet; row += 16) {
        each_alone(block, [&](int thread) { clear(p[thread]), clear(dl[thread]); });
        Tiles::add_products(block, shared.k[now], row, own_q,
                            [&](int thread, int m, int n) -> TileC& { return p[thread][m][n]; });
        Tiles::add_products(block, shared.v[now], row, own_dctx,
                            [&](int thread, int m, int n) -> TileC& { return dl[thread][m][n]; });
        each_alone(block, [&](int thread) {
          attention_gradients<kRows>(
              s, b, h, all,
              [&](int m, int n, int r) -> QueryAndKey {
                return {Tiles::own_row(thread, i0, m, r), j0 + row + n * 8 + tile_column(thread, r),
                        own_lse[thread][m][r / 2], own_delta[thread][m][r / 2]};
              },
              p[thread], dl[thread]);
#pragma unroll
          for (int m = 0; m < kRows; ++m) factor[thread][m] = as_factor(dl[thread][m][0], dl[thread][m][1]);
        });
        Tiles::add_rows(block, shared.k[now], row, factor, sums);
      }
    }
    each_alone(block, [&](int thread) {
      Tiles::store_own(thread, s, dq, b, i0, h, sums[thread], [&](int, int) { return s.scale; });
    });
  }
};

// Of a tile of keys and values: over the heads of queries that share them, in order, and the queries that see them.
template <int kWidth>
struct AttentionKeyGradientTilesKernel {
  using Tiles = AttentionTiles<kWidth, 1>;
  static constexpr int kThreads = Tiles::kThreads, kOwn = Tiles::kOwn, kMet = Tiles::kMet, kSteps = Tiles::kSteps;
  struct alignas(16) Shared {
    typename Tiles::Tile q[2], dctx[2];
    float lse[2][kMet], delta[2][kMet];
  };

  AttentionSizes s;
  View<const bf16> q, k, v, dctx;
  const float *lse, *delta;
  View<bf16> dk, dv;

  int64_t blocks() const { return s.B * s.G * blocks_of(s.S, kOwn); }
  TROUPE_KERNEL void start(int thread, int64_t b, int64_t h, int64_t i0, Shared& shared, int at) const {
    Tiles::start_rows(thread, s, q, b, i0, h, shared.q[at]);
    Tiles::start_rows(thread, s, dctx, b, i0, h, shared.dctx[at]);
    if (thread < kMet) {
      const int64_t row = s.stat_row(b, h, i0 + thread);
      shared.lse[at][thread] = i0 + thread < s.S ? lse[row] : 0.0f;
      shared.delta[at][thread] = i0 + thread < s.S ? delta[row] : 0.0f;
    }
  }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t j0 = block.index() / (s.B * s.G) * kOwn;  // the first keys, which have the most queries, first
    const int64_t g = block.index() % s.G, b = block.index() / s.G % s.B, per_group = s.H / s.G;
    const int64_t last_key = j0 + kOwn < s.S ? j0 + kOwn - 1 : s.S - 1, end = s.after_last_query(last_key);
    const int64_t i_first = j0 / kMet * kMet, tiles = (end - i_first + kMet - 1) / kMet;
    PerThread<typename Tiles::Own, kThreads> own_k, own_v;
    PerThread<typename Tiles::OwnSums, kThreads> of_k, of_v;
    PerThread<typename Tiles::Products, kThreads> p, dl;
    PerThread<TileA[1], kThreads> factor_p, factor_dl;
    each_alone(block, [&](int thread) {
      start(thread, b, g * per_group, i_first, shared, 0);
      Tiles::load_own(thread, s, k, b, j0, g, own_k[thread]);
      Tiles::load_own(thread, s, v, b, j0, g, own_v[thread]);
      clear(of_k[thread]), clear(of_v[thread]);
    });
    int now = 0;
    for (int64_t tile = 0; tile < per_group * tiles; ++tile, now ^= 1) {
      const int64_t h = g * per_group + tile / tiles, i0 = i_first + tile % tiles * kMet, next = tile + 1;
      block.each([&](int) { wait_for_copies(); });
      each_alone(block, [&](int thread) {
        if (next < per_group * tiles)
          start(thread, b, g * per_group + next / tiles, i_first + next % tiles * kMet, shared, now ^ 1);
      });
      const bool all = all_seen(s, i0, i0 + kMet - 1, j0, j0 + kOwn - 1);
      for (int row = 0; row < kMet; row += 16) {
        each_alone(block, [&](int thread) { clear(p[thread]), clear(dl[thread]); });
        Tiles::add_products(block, shared.q[now], row, own_k,
                            [&](int thread, int m, int n) -> TileC& { return p[thread][m][n]; });
        Tiles::add_products(block, shared.dctx[now], row, own_v,
                            [&](int thread, int m, int n) -> TileC& { return dl[thread][m][n]; });
        each_alone(block, [&](int thread) {
          attention_gradients<1>(
              s, b, h, all,
              [&](int m, int n, int r) -> QueryAndKey {
                const int query = row + n * 8 + tile_column(thread, r);
                return {i0 + query, Tiles::own_row(thread, j0, m, r), shared.lse[now][query], shared.delta[now][query]};
              },
              p[thread], dl[thread]);
          factor_p[thread][0] = as_factor(p[thread][0][0], p[thread][0][1]);
          factor_dl[thread][0] = as_factor(dl[thread][0][0], dl[thread][0][1]);
        });
        Tiles::add_rows(block, shared.dctx[now], row, factor_p, of_v);
        Tiles::add_rows(block, shared.q[now], row, factor_dl, of_k);
      }
    }
    each_alone(block, [&](int thread) {
      Tiles::store_own(thread, s, dk, b, j0, g, of_k[thread], [&](int, int) { return s.scale; });
      Tiles::store_own(thread, s, dv, b, j0, g, of_v[thread], [](int, int) { return 1.0f; });
    });
  }
};

}  // namespace troupe::cuda
