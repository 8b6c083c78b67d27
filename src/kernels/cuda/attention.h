// Causal attention (ops/attention.h), plainly: for shapes, types and dropout that libraries refuse. Forward: a block
// has a tile of queries and meets the keys tile by tile (Milakov and Gimelshein 2018; Dao et al. 2022). Backward: one
// kernel by queries, one by keys, both computing the probabilities again; nothing is added atomically.
#pragma once

#include <cmath>

#include "kernels/cuda/grid.h"
#include "kernels/dropout.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

constexpr int kAttentionThreads = 128;
constexpr int kKeyTile = 16;
constexpr int64_t kWidestHead = 128;
// Queries of a tile for heads of at most `width` columns: what fits shared memory.
constexpr int query_tile(int width) { return width <= 64 ? 32 : 16; }

// AttentionShape (kernels/attention_shape.h), for the device.
struct AttentionSizes {
  int64_t B, S, H, G, C, window;
  float scale;
  const uint8_t* key_valid;  // or nullptr
  const int32_t* key_end;    // or nullptr
  Dropout dropout;

  TROUPE_KERNEL int64_t first_key(int64_t i) const { return window > 0 && i >= window ? i - window + 1 : 0; }
  TROUPE_KERNEL int64_t after_last_query(int64_t j) const { return window > 0 && j + window < S ? j + window : S; }
  TROUPE_KERNEL bool sees(int64_t b, int64_t i, int64_t j) const {
    return i < S && j <= i && j >= first_key(i) && (!key_valid || key_valid[b * S + j]) &&
           (!key_end || i < key_end[b * S + j]);
  }
  TROUPE_KERNEL int64_t stat_row(int64_t b, int64_t h, int64_t i) const { return (b * H + h) * S + i; }
};

// Rows [first, first + kRows) of a head of sequence b into shared memory; zeros beyond its end.
template <int kRows, int kWidth, class operand>
TROUPE_KERNEL void load_rows(int thread, const AttentionSizes& s, View<const operand> matrix, int64_t b, int64_t first,
                             int64_t head, float (&rows)[kRows][kWidth + 1]) {
  for (int at = thread; at < kRows * kWidth; at += kAttentionThreads) {
    const int64_t i = first + at / kWidth, c = at % kWidth;
    rows[at / kWidth][at % kWidth] =
        i < s.S && c < s.C ? static_cast<float>(matrix(b * s.S + i, head * s.C + c)) : 0.0f;
  }
}

template <int kWidth>
TROUPE_KERNEL float dot(const float (&a)[kWidth + 1], const float (&b)[kWidth + 1], int64_t C) {
  float sum = 0.0f;
  for (int64_t c = 0; c < C; ++c) sum += a[c] * b[c];
  return sum;
}

template <class operand, int kWidth>
struct AttentionForwardKernel {
  static constexpr int kThreads = kAttentionThreads, kQueries = query_tile(kWidth);
  static constexpr int kSums = kQueries * kWidth / kThreads;  // columns of the context that a thread has
  struct Shared {
    float q[kQueries][kWidth + 1], k[kKeyTile][kWidth + 1], v[kKeyTile][kWidth + 1], p[kQueries][kKeyTile];
    float max[kQueries], sum[kQueries], shrink[kQueries];
  };

  AttentionSizes s;
  View<const operand> q, k, v;
  View<operand> ctx;
  float* lse;

  int64_t blocks() const { return s.B * s.H * blocks_of(s.S, kQueries); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t tiles = (s.S + kQueries - 1) / kQueries, i0 = block.index() % tiles * kQueries;
    const int64_t h = block.index() / tiles % s.H, b = block.index() / tiles / s.H, g = h / (s.H / s.G);
    const int64_t end = i0 + kQueries < s.S ? i0 + kQueries : s.S;
    PerThread<float[kSums], kThreads> sums;
    block.each([&](int thread) {
      load_rows<kQueries, kWidth>(thread, s, q, b, i0, h, shared.q);
      for (int n = 0; n < kSums; ++n) sums[thread][n] = 0.0f;
      if (thread < kQueries) shared.max[thread] = -INFINITY, shared.sum[thread] = 0.0f;
    });
    for (int64_t j0 = s.first_key(i0) / kKeyTile * kKeyTile; j0 < end; j0 += kKeyTile) {
      block.each([&](int thread) {
        load_rows<kKeyTile, kWidth>(thread, s, k, b, j0, g, shared.k);
        load_rows<kKeyTile, kWidth>(thread, s, v, b, j0, g, shared.v);
      });
      block.each([&](int thread) {
        for (int at = thread; at < kQueries * kKeyTile; at += kThreads) {
          const int i = at / kKeyTile, j = at % kKeyTile;
          shared.p[i][j] = s.sees(b, i0 + i, j0 + j) ? s.scale * dot<kWidth>(shared.q[i], shared.k[j], s.C) : -INFINITY;
        }
      });
      block.each([&](int thread) {
        if (thread >= kQueries) return;
        const int i = thread;
        float max = shared.max[i], sum = 0.0f;
        for (int j = 0; j < kKeyTile; ++j)
          if (shared.p[i][j] > max) max = shared.p[i][j];
        const float shrink = shared.max[i] == -INFINITY ? 0.0f : expf(shared.max[i] - max);
        for (int j = 0; j < kKeyTile; ++j) {
          const float p = shared.p[i][j] == -INFINITY ? 0.0f : expf(shared.p[i][j] - max);
          sum += p;
          shared.p[i][j] = p == 0.0f ? p : p * s.dropout.scale(s.stat_row(b, h, i0 + i), j0 + j, s.S);
        }
        shared.max[i] = max;
        shared.sum[i] = shared.sum[i] * shrink + sum;
        shared.shrink[i] = shrink;
      });
      block.each([&](int thread) {
        for (int n = 0; n < kSums; ++n) {
          const int at = n * kThreads + thread, i = at / kWidth, c = at % kWidth;
          float sum = sums[thread][n] * shared.shrink[i];
          for (int j = 0; j < kKeyTile; ++j)
            if (shared.p[i][j] != 0.0f) sum += shared.p[i][j] * shared.v[j][c];
          sums[thread][n] = sum;
        }
      });
    }
    block.each([&](int thread) {
      for (int n = 0; n < kSums; ++n) {
        const int at = n * kThreads + thread, i = at / kWidth, c = at % kWidth;
        if (i0 + i >= s.S || c >= s.C) continue;
        const float sum = shared.sum[i];
        ctx(b * s.S + i0 + i, h * s.C + c) = static_cast<operand>(sum == 0.0f ? 0.0f : sums[thread][n] / sum);
      }
      if (thread < kQueries && i0 + thread < s.S)
        lse[s.stat_row(b, h, i0 + thread)] =
            shared.sum[thread] == 0.0f ? -INFINITY : shared.max[thread] + logf(shared.sum[thread]);
    });
  }
};

// delta = dctx . ctx of every query and head
template <class operand>
struct AttentionDeltaKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  AttentionSizes s;
  View<const operand> ctx, dctx;
  float* delta;

  int64_t blocks() const { return blocks_of(s.B * s.H * s.S, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, s.B * s.H * s.S, [&](int64_t at) {
      const int64_t i = at % s.S, h = at / s.S % s.H, row = at / s.S / s.H * s.S + i;
      float sum = 0.0f;
      for (int64_t c = h * s.C; c < (h + 1) * s.C; ++c)
        sum += static_cast<float>(ctx(row, c)) * static_cast<float>(dctx(row, c));
      delta[at] = sum;
    });
  }
};

template <class operand, int kWidth>
struct AttentionBackwardShared {
  static constexpr int kQueries = query_tile(kWidth);
  float q[kQueries][kWidth + 1], dctx[kQueries][kWidth + 1], k[kKeyTile][kWidth + 1], v[kKeyTile][kWidth + 1];
  float p[kQueries][kKeyTile], dl[kQueries][kKeyTile];
};

// p~ and dl of a tile of queries and keys that lie in shared memory.
template <class operand, int kWidth>
TROUPE_KERNEL void tile_gradients(int thread, const AttentionSizes& s, int64_t b, int64_t h, int64_t i0, int64_t j0,
                                  const float* lse, const float* delta,
                                  AttentionBackwardShared<operand, kWidth>& shared) {
  for (int at = thread; at < query_tile(kWidth) * kKeyTile; at += kAttentionThreads) {
    const int i = at / kKeyTile, j = at % kKeyTile;
    float dropped = 0.0f, dl = 0.0f;
    if (s.sees(b, i0 + i, j0 + j)) {
      const int64_t row = s.stat_row(b, h, i0 + i);
      const float p = expf(s.scale * dot<kWidth>(shared.q[i], shared.k[j], s.C) - lse[row]);
      const float mask = s.dropout.scale(row, j0 + j, s.S);
      dropped = mask * p;
      dl = p * (mask * dot<kWidth>(shared.dctx[i], shared.v[j], s.C) - delta[row]);
    }
    shared.p[i][j] = dropped;
    shared.dl[i][j] = dl;
  }
}

template <class operand, int kWidth>
struct AttentionQueryGradientKernel {
  static constexpr int kThreads = kAttentionThreads, kQueries = query_tile(kWidth);
  static constexpr int kSums = kQueries * kWidth / kThreads;
  using Shared = AttentionBackwardShared<operand, kWidth>;

  AttentionSizes s;
  View<const operand> q, k, v, dctx;
  const float *lse, *delta;
  View<operand> dq;

  int64_t blocks() const { return s.B * s.H * blocks_of(s.S, kQueries); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t tiles = (s.S + kQueries - 1) / kQueries, i0 = block.index() % tiles * kQueries;
    const int64_t h = block.index() / tiles % s.H, b = block.index() / tiles / s.H, g = h / (s.H / s.G);
    const int64_t end = i0 + kQueries < s.S ? i0 + kQueries : s.S;
    PerThread<float[kSums], kThreads> sums;
    block.each([&](int thread) {
      load_rows<kQueries, kWidth>(thread, s, q, b, i0, h, shared.q);
      load_rows<kQueries, kWidth>(thread, s, dctx, b, i0, h, shared.dctx);
      for (int n = 0; n < kSums; ++n) sums[thread][n] = 0.0f;
    });
    for (int64_t j0 = s.first_key(i0) / kKeyTile * kKeyTile; j0 < end; j0 += kKeyTile) {
      block.each([&](int thread) {
        load_rows<kKeyTile, kWidth>(thread, s, k, b, j0, g, shared.k);
        load_rows<kKeyTile, kWidth>(thread, s, v, b, j0, g, shared.v);
      });
      block.each([&](int thread) { tile_gradients(thread, s, b, h, i0, j0, lse, delta, shared); });
      block.each([&](int thread) {
        for (int n = 0; n < kSums; ++n) {
          const int at = n * kThreads + thread, i = at / kWidth, c = at % kWidth;
          for (int j = 0; j < kKeyTile; ++j) sums[thread][n] += shared.dl[i][j] * shared.k[j][c];
        }
      });
    }
    block.each([&](int thread) {
      for (int n = 0; n < kSums; ++n) {
        const int at = n * kThreads + thread, i = at / kWidth, c = at % kWidth;
        if (i0 + i < s.S && c < s.C)
          dq(b * s.S + i0 + i, h * s.C + c) = static_cast<operand>(s.scale * sums[thread][n]);
      }
    });
  }
};

// Of a tile of keys and values: over the heads of queries that share them, in order, and the queries that see them.
template <class operand, int kWidth>
struct AttentionKeyGradientKernel {
  static constexpr int kThreads = kAttentionThreads, kQueries = query_tile(kWidth);
  static constexpr int kSums = kKeyTile * kWidth / kThreads;
  using Shared = AttentionBackwardShared<operand, kWidth>;

  AttentionSizes s;
  View<const operand> q, k, v, dctx;
  const float *lse, *delta;
  View<operand> dk, dv;

  int64_t blocks() const { return s.B * s.G * blocks_of(s.S, kKeyTile); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t tiles = (s.S + kKeyTile - 1) / kKeyTile, j0 = block.index() % tiles * kKeyTile;
    const int64_t g = block.index() / tiles % s.G, b = block.index() / tiles / s.G, per_group = s.H / s.G;
    const int64_t last_key = j0 + kKeyTile < s.S ? j0 + kKeyTile - 1 : s.S - 1, end = s.after_last_query(last_key);
    PerThread<float[kSums], kThreads> of_k, of_v;
    block.each([&](int thread) {
      load_rows<kKeyTile, kWidth>(thread, s, k, b, j0, g, shared.k);
      load_rows<kKeyTile, kWidth>(thread, s, v, b, j0, g, shared.v);
      for (int n = 0; n < kSums; ++n) of_k[thread][n] = of_v[thread][n] = 0.0f;
    });
    for (int64_t h = g * per_group; h < (g + 1) * per_group; ++h)
      for (int64_t i0 = j0 / kQueries * kQueries; i0 < end; i0 += kQueries) {
        block.each([&](int thread) {
          load_rows<kQueries, kWidth>(thread, s, q, b, i0, h, shared.q);
          load_rows<kQueries, kWidth>(thread, s, dctx, b, i0, h, shared.dctx);
        });
        block.each([&](int thread) { tile_gradients(thread, s, b, h, i0, j0, lse, delta, shared); });
        block.each([&](int thread) {
          for (int n = 0; n < kSums; ++n) {
            const int at = n * kThreads + thread, j = at / kWidth, c = at % kWidth;
            for (int i = 0; i < kQueries; ++i) {
              of_v[thread][n] += shared.p[i][j] * shared.dctx[i][c];
              of_k[thread][n] += shared.dl[i][j] * shared.q[i][c];
            }
          }
        });
      }
    block.each([&](int thread) {
      for (int n = 0; n < kSums; ++n) {
        const int at = n * kThreads + thread, j = at / kWidth, c = at % kWidth;
        if (j0 + j >= s.S || c >= s.C) continue;
        dk(b * s.S + j0 + j, g * s.C + c) = static_cast<operand>(s.scale * of_k[thread][n]);
        dv(b * s.S + j0 + j, g * s.C + c) = static_cast<operand>(of_v[thread][n]);
      }
    });
  }
};

// Some keys and values that follow each other in memory (kernels/kv_segment.h), from position `first` on.
template <class operand>
struct DecodeSegment {
  View<const operand> k, v;
  int64_t first;
};

// One new query of a sequence.
template <class operand>
struct DecodeQuery {
  const operand* q;
  operand* ctx;
  int64_t position, first_segment, num_segments;
};

// A block a query and head; keys in tiles by position, so that bits do not depend on where segments end.
template <class operand>
struct AttentionDecodeKernel {
  static constexpr int kThreads = kAttentionThreads;
  static constexpr int kSums = kWidestHead / kThreads;
  struct Shared {
    float q[kWidestHead], p[kThreads];
    const operand* v[kThreads];
  };

  int64_t num_queries, H, G, C, window;
  float scale;
  const DecodeSegment<operand>* segments;
  const DecodeQuery<operand>* queries;

  int64_t blocks() const { return num_queries * H; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const DecodeQuery<operand> query = queries[block.index() / H];
    const int64_t h = block.index() % H, column = h / (H / G) * C, end = query.position + 1;
    const int64_t first = window > 0 && query.position >= window ? query.position - window + 1 : 0;
    float max = -INFINITY, sum = 0.0f;
    PerThread<float, kThreads> part;
    PerThread<float[kSums], kThreads> sums;
    block.each([&](int thread) {
      for (int64_t c = thread; c < C; c += kThreads) shared.q[c] = static_cast<float>(query.q[h * C + c]);
      for (int n = 0; n < kSums; ++n) sums[thread][n] = 0.0f;
    });
    for (int64_t j0 = first / kThreads * kThreads; j0 < end; j0 += kThreads) {
      block.each([&](int thread) {
        const int64_t j = j0 + thread;
        part[thread] = -INFINITY;
        if (j < first || j >= end) return;
        int64_t at = query.first_segment;
        while (j >= segments[at].first + segments[at].k.rows) ++at;
        const operand* const key = segments[at].k.row(j - segments[at].first) + column;
        shared.v[thread] = segments[at].v.row(j - segments[at].first) + column;
        float logit = 0.0f;
        for (int64_t c = 0; c < C; ++c) logit += shared.q[c] * static_cast<float>(key[c]);
        part[thread] = scale * logit;
      });
      const float tile_max = block.max(part), new_max = max < tile_max ? tile_max : max;
      const float shrink = max == -INFINITY ? 0.0f : expf(max - new_max);
      block.each([&](int thread) {
        part[thread] = part[thread] == -INFINITY ? 0.0f : expf(part[thread] - new_max);
        shared.p[thread] = part[thread];
      });
      sum = sum * shrink + block.sum(part);
      max = new_max;
      block.each([&](int thread) {
        for (int n = 0; n < kSums; ++n) {
          const int64_t c = n * kThreads + thread;
          if (c >= C) continue;
          float total = sums[thread][n] * shrink;
          for (int j = 0; j < kThreads; ++j)
            if (shared.p[j] != 0.0f) total += shared.p[j] * static_cast<float>(shared.v[j][c]);
          sums[thread][n] = total;
        }
      });
    }
    block.each([&](int thread) {
      for (int n = 0; n < kSums; ++n)
        if (const int64_t c = n * kThreads + thread; c < C)
          query.ctx[h * C + c] = static_cast<operand>(sum == 0.0f ? 0.0f : sums[thread][n] / sum);
    });
  }
};

}  // namespace troupe::cuda
