// Causal attention (ops/attention.h) in bf16 on tensor cores (Dao 2023): a block has a tile of 64 queries, 16 a warp,
// and meets the keys tile by tile, the next tile on its way while one is used. Backward: one kernel by queries, one by
// keys, both computing the probabilities again; all that is added is added in one order. Rows begin at multiples of 16
// bytes.
#pragma once

#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/tiles.h"

namespace troupe::cuda {

constexpr float kLog2OfE = 1.4426950408889634f, kLogOf2 = 0.6931471805599453f;

// What the kernels for heads of at most kWidth columns share.
template <int kWidth>
struct AttentionTiles {
  static constexpr int kThreads = kAttentionThreads;
  static constexpr int kOwn = 16 * kThreads / kWarp;   // rows of a block: queries, or keys
  static constexpr int kMet = kWidth <= 64 ? 64 : 32;  // rows of a tile that it meets: what fits shared memory
  static constexpr int kSteps = kWidth / 16, kStride = kWidth + 8;
  using Tile = uint16_t[kMet][kStride];

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
  // A warp's 16 rows of a head, of the block's that begin at `first`.
  static TROUPE_KERNEL void load_own(int thread, const AttentionSizes& s, View<const bf16> matrix, int64_t b,
                                     int64_t first, int64_t head, TileA (&rows)[kSteps]) {
    const int64_t i = first + thread / kWarp * 16 + thread % kWarp / 4;
    const bf16* const at = matrix.row(b * s.S + i) + head * s.C;
    for (int step = 0; step < kSteps; ++step)
      rows[step] = load_a(thread, at, i < s.S, at + 8 * matrix.stride, i + 8 < s.S, step * 16, s.C);
  }
  // And back, times `scale`.
  static TROUPE_KERNEL void store_own(int thread, const AttentionSizes& s, View<bf16> matrix, int64_t b, int64_t first,
                                      int64_t head, const TileC (&rows)[2 * kSteps], const float (&scale)[2]) {
    for (int half = 0; half < 2; ++half) {
      const int64_t i = first + thread / kWarp * 16 + thread % kWarp / 4 + 8 * half;
      if (i >= s.S) continue;
      bf16* const at = matrix.row(b * s.S + i) + head * s.C;
      for (int n = 0; n < 2 * kSteps; ++n) {
        const int c = n * 8 + tile_column(thread, 0);
        if (c >= s.C) continue;
        const float* const values = &rows[n].values[2 * half];
        store_pair(at + c, pack_bf16(scale[half] * values[0], scale[half] * values[1]));
      }
    }
  }
  // [16 own rows, 16 met ones from `row` on] += own met^T, over the columns of a head.
  template <class OfSums, class OfOwn>
  static TROUPE_KERNEL void add_products(const Block<kThreads>& block, const Tile& met, int row, const OfSums& sums,
                                         const OfOwn& own) {
    PerThread<TileB[2], kThreads> pair;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      each_alone(block, [&](int thread) { load_b<true, kStride>(thread, &met[row][step * 16], pair[thread]); });
#pragma unroll
      for (int n = 0; n < 2; ++n)
        multiply_add(
            block, [&](int thread) -> TileC& { return sums(thread)[n]; },
            [&](int thread) -> const TileA& { return own(thread)[step]; },
            [&](int thread) -> const TileB& { return pair[thread][n]; });
    }
  }
  // [16 own rows, columns of a head] += factor [16 own rows, 16 met ones from `row` on] met.
  template <class OfSums, class OfFactor>
  static TROUPE_KERNEL void add_rows(const Block<kThreads>& block, const Tile& met, int row, const OfSums& sums,
                                     const OfFactor& factor) {
    PerThread<TileB[2], kThreads> pair;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      each_alone(block, [&](int thread) { load_b<false, kStride>(thread, &met[row][step * 16], pair[thread]); });
#pragma unroll
      for (int n = 0; n < 2; ++n)
        multiply_add(
            block, [&](int thread) -> TileC& { return sums(thread)[2 * step + n]; }, factor,
            [&](int thread) -> const TileB& { return pair[thread][n]; });
    }
  }
};

// Whether every query of [i, i_last] sees every key of [j, j_last], so that no one needs to ask.
TROUPE_KERNEL bool all_seen(const AttentionSizes& s, int64_t i, int64_t i_last, int64_t j, int64_t j_last) {
  return !s.key_valid && !s.key_end && j_last <= i && i_last < s.S && (s.window <= 0 || i_last - j < s.window);
}

template <int kWidth>
struct AttentionForwardTilesKernel {
  using Tiles = AttentionTiles<kWidth>;
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
    PerThread<TileA[kSteps], kThreads> own;
    PerThread<TileC[2 * kSteps], kThreads> sums;
    PerThread<TileC[kMet / 8], kThreads> p;
    PerThread<float[2], kThreads> max, sum, tile_max;
    each_alone(block, [&](int thread) {
      Tiles::load_own(thread, s, q, b, i0, h, own[thread]);
      for (TileC& tile : sums[thread]) tile = {};
      for (int half = 0; half < 2; ++half) max[thread][half] = -INFINITY, sum[thread][half] = 0.0f;
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
        for (TileC& tile : p[thread]) tile = {};
      });
#pragma unroll
      for (int part = 0; part < kMet / 16; ++part)
        Tiles::add_products(
            block, shared.k[now], part * 16, [&](int thread) { return &p[thread][2 * part]; },
            [&](int thread) { return &own[thread][0]; });
      const bool all = all_seen(s, i0, i0 + kOwn - 1, j0, j0 + kMet - 1);
      each_alone(block, [&](int thread) {
        const int64_t i = i0 + thread / kWarp * 16;
        for (int half = 0; half < 2; ++half) tile_max[thread][half] = -INFINITY;
#pragma unroll
        for (int n = 0; n < kMet / 8; ++n)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            float& logit = p[thread][n].values[r];
            logit = all || s.sees(b, i + tile_row(thread, r), j0 + n * 8 + tile_column(thread, r)) ? scale * logit
                                                                                                   : -INFINITY;
            if (logit > tile_max[thread][r / 2]) tile_max[thread][r / 2] = logit;
          }
      });
#pragma unroll
      for (int half = 0; half < 2; ++half)
        reduce_rows(
            block, [&](int thread) -> float& { return tile_max[thread][half]; }, Max());
      each_alone(block, [&](int thread) {
        const int64_t i = i0 + thread / kWarp * 16;
        float shrink[2], base[2];
        for (int half = 0; half < 2; ++half) {
          const float new_max = Max()(max[thread][half], tile_max[thread][half]);
          base[half] = new_max == -INFINITY ? 0.0f : new_max;
          shrink[half] = exp2f(max[thread][half] - base[half]);
          max[thread][half] = new_max;
          sum[thread][half] *= shrink[half];
        }
#pragma unroll
        for (int n = 0; n < kMet / 8; ++n)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            float& value = p[thread][n].values[r];
            value = exp2f(value - base[r / 2]);
            sum[thread][r / 2] += value;
            if (s.dropout.active())
              value *=
                  s.dropout.scale(s.stat_row(b, h, i + tile_row(thread, r)), j0 + n * 8 + tile_column(thread, r), s.S);
          }
#pragma unroll
        for (int n = 0; n < 2 * kSteps; ++n)
#pragma unroll
          for (int r = 0; r < 4; ++r) sums[thread][n].values[r] *= shrink[r / 2];
      });
#pragma unroll
      for (int part = 0; part < kMet / 16; ++part) {
        PerThread<TileA, kThreads> factor;
        each_alone(block,
                   [&](int thread) { factor[thread] = as_factor(p[thread][2 * part], p[thread][2 * part + 1]); });
        Tiles::add_rows(
            block, shared.v[now], part * 16, [&](int thread) { return &sums[thread][0]; },
            [&](int thread) -> const TileA& { return factor[thread]; });
      }
    }
    for (int half = 0; half < 2; ++half)
      reduce_rows(
          block, [&](int thread) -> float& { return sum[thread][half]; }, Add());
    each_alone(block, [&](int thread) {
      float scale_of[2];
      for (int half = 0; half < 2; ++half) {
        const float total = sum[thread][half];
        scale_of[half] = total == 0.0f ? 0.0f : (s.dropout.active() ? 1.0f : s.dropout.multiplier) / total;
        const int64_t i = i0 + thread / kWarp * 16 + tile_row(thread, 2 * half);
        if (thread % 4 == 0 && i < s.S)
          lse[s.stat_row(b, h, i)] = total == 0.0f ? -INFINITY : max[thread][half] * kLogOf2 + logf(total);
      }
      Tiles::store_own(thread, s, ctx, b, i0, h, sums[thread], scale_of);
    });
  }
};

// p~ and dl (ops/attention.h) of 16 x 16 queries and keys from their products; `of(r, n)` gives query and key in the
// sequence, log-sum and delta of a value.
template <class Of>
TROUPE_KERNEL void attention_gradients(const AttentionSizes& s, int64_t b, int64_t h, bool all, const Of& of,
                                       TileC (&p)[2], TileC (&dl)[2]) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const auto at = of(n, r);
      float dropped = 0.0f, gradient = 0.0f;
      if (all || s.sees(b, at.i, at.j)) {
        const float value = exp2f(s.scale * kLog2OfE * p[n].values[r] - kLog2OfE * at.lse);
        const float mask = s.dropout.scale(s.stat_row(b, h, at.i), at.j, s.S);
        dropped = mask * value;
        gradient = value * (mask * dl[n].values[r] - at.delta);
      }
      p[n].values[r] = dropped, dl[n].values[r] = gradient;
    }
}
struct QueryAndKey {
  int64_t i, j;
  float lse, delta;
};

template <int kWidth>
struct AttentionQueryGradientTilesKernel {
  using Tiles = AttentionTiles<kWidth>;
  static constexpr int kThreads = Tiles::kThreads, kOwn = Tiles::kOwn, kMet = Tiles::kMet, kSteps = Tiles::kSteps;
  struct alignas(16) Shared {
    typename Tiles::Tile k[2], v[2];
  };

  AttentionSizes s;
  View<const bf16> q, k, v, dctx;
  const float *lse, *delta;
  View<bf16> dq;

  int64_t blocks() const { return s.B * s.H * blocks_of(s.S, kOwn); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t i0 = ((s.S + kOwn - 1) / kOwn - 1 - block.index() / (s.B * s.H)) * kOwn;
    const int64_t h = block.index() % s.H, b = block.index() / s.H % s.B, g = h / (s.H / s.G);
    const int64_t end = i0 + kOwn < s.S ? i0 + kOwn : s.S, j_first = s.first_key(i0) / kMet * kMet;
    PerThread<TileA[kSteps], kThreads> own_q, own_dctx;
    PerThread<TileC[2 * kSteps], kThreads> sums;
    PerThread<TileC[2], kThreads> p, dl;
    PerThread<float[2], kThreads> own_lse, own_delta;
    PerThread<TileA, kThreads> factor;
    each_alone(block, [&](int thread) {
      Tiles::load_own(thread, s, q, b, i0, h, own_q[thread]);
      Tiles::load_own(thread, s, dctx, b, i0, h, own_dctx[thread]);
      for (TileC& tile : sums[thread]) tile = {};
      for (int half = 0; half < 2; ++half) {
        const int64_t i = i0 + thread / kWarp * 16 + tile_row(thread, 2 * half), row = s.stat_row(b, h, i);
        own_lse[thread][half] = i < s.S ? lse[row] : 0.0f;
        own_delta[thread][half] = i < s.S ? delta[row] : 0.0f;
      }
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
      });
      const bool all = all_seen(s, i0, i0 + kOwn - 1, j0, j0 + kMet - 1);
      for (int row = 0; row < kMet; row += 16) {
        each_alone(block, [&](int thread) { p[thread][0] = p[thread][1] = dl[thread][0] = dl[thread][1] = {}; });
        Tiles::add_products(
            block, shared.k[now], row, [&](int thread) { return &p[thread][0]; },
            [&](int thread) { return &own_q[thread][0]; });
        Tiles::add_products(
            block, shared.v[now], row, [&](int thread) { return &dl[thread][0]; },
            [&](int thread) { return &own_dctx[thread][0]; });
        each_alone(block, [&](int thread) {
          attention_gradients(
              s, b, h, all,
              [&](int n, int r) -> QueryAndKey {
                return {i0 + thread / kWarp * 16 + tile_row(thread, r), j0 + row + n * 8 + tile_column(thread, r),
                        own_lse[thread][r / 2], own_delta[thread][r / 2]};
              },
              p[thread], dl[thread]);
          factor[thread] = as_factor(dl[thread][0], dl[thread][1]);
        });
        Tiles::add_rows(
            block, shared.k[now], row, [&](int thread) { return &sums[thread][0]; },
            [&](int thread) -> const TileA& { return factor[thread]; });
      }
    }
    each_alone(block, [&](int thread) { Tiles::store_own(thread, s, dq, b, i0, h, sums[thread], {s.scale, s.scale}); });
  }
};

// Of a tile of keys and values: over the heads of queries that share them, in order, and the queries that see them.
template <int kWidth>
struct AttentionKeyGradientTilesKernel {
  using Tiles = AttentionTiles<kWidth>;
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
    PerThread<TileA[kSteps], kThreads> own_k, own_v;
    PerThread<TileC[2 * kSteps], kThreads> of_k, of_v;
    PerThread<TileC[2], kThreads> p, dl;
    PerThread<TileA, kThreads> factor_p, factor_dl;
    each_alone(block, [&](int thread) {
      Tiles::load_own(thread, s, k, b, j0, g, own_k[thread]);
      Tiles::load_own(thread, s, v, b, j0, g, own_v[thread]);
      for (TileC& tile : of_k[thread]) tile = {};
      for (TileC& tile : of_v[thread]) tile = {};
      start(thread, b, g * per_group, i_first, shared, 0);
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
        each_alone(block, [&](int thread) { p[thread][0] = p[thread][1] = dl[thread][0] = dl[thread][1] = {}; });
        Tiles::add_products(
            block, shared.q[now], row, [&](int thread) { return &p[thread][0]; },
            [&](int thread) { return &own_k[thread][0]; });
        Tiles::add_products(
            block, shared.dctx[now], row, [&](int thread) { return &dl[thread][0]; },
            [&](int thread) { return &own_v[thread][0]; });
        each_alone(block, [&](int thread) {
          attention_gradients(
              s, b, h, all,
              [&](int n, int r) -> QueryAndKey {
                const int query = row + n * 8 + tile_column(thread, r);
                return {i0 + query, j0 + thread / kWarp * 16 + tile_row(thread, r), shared.lse[now][query],
                        shared.delta[now][query]};
              },
              p[thread], dl[thread]);
          factor_p[thread] = as_factor(p[thread][0], p[thread][1]);
          factor_dl[thread] = as_factor(dl[thread][0], dl[thread][1]);
        });
        Tiles::add_rows(
            block, shared.dctx[now], row, [&](int thread) { return &of_v[thread][0]; },
            [&](int thread) -> const TileA& { return factor_p[thread]; });
        Tiles::add_rows(
            block, shared.q[now], row, [&](int thread) { return &of_k[thread][0]; },
            [&](int thread) -> const TileA& { return factor_dl[thread]; });
      }
    }
    each_alone(block, [&](int thread) {
      Tiles::store_own(thread, s, dk, b, j0, g, of_k[thread], {s.scale, s.scale});
      Tiles::store_own(thread, s, dv, b, j0, g, of_v[thread], {1.0f, 1.0f});
    });
  }
};

}  // namespace troupe::cuda
