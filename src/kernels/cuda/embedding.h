// Embedding (ops/embedding.h). Its gradient adds to every row of the table in the order of the tokens: the tokens are
// ranked by id first, stably, then one block adds what belongs to one row.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/dropout.h"

namespace troupe::cuda {

struct EmbeddingForwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  const int32_t *tokens_T, *positions_T;
  View<const float> embed, positions;  // positions may be nullptr
  float scale;
  Dropout dropout;
  View<float> x;

  int64_t blocks() const { return x.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = x.cols;
    block.each([&](int thread) {
      for (int64_t d = thread; d < D; d += kThreads)
        x(t, d) = (scale * embed(tokens_T[t], d) + (positions.data ? positions(positions_T[t], d) : 0.0f)) *
                  dropout.scale(t, d, D);
    });
  }
};

// token_of[rank of t] = t, the rank by (id, t). Counting those before takes T^2 comparisons, a tile of ids at a time:
// 1 % of a step even at T = 65,536.
struct RankIdsKernel {
  static constexpr int kThreads = 256;
  struct Shared {
    int32_t ids[kThreads];
  };

  const int32_t* ids_T;
  int64_t T;
  int32_t* token_of;

  int64_t blocks() const { return blocks_of(T, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    PerThread<int32_t, kThreads> id, rank;
    const int64_t first = block.index() * kThreads;
    block.each([&](int thread) {
      rank[thread] = 0;
      id[thread] = first + thread < T ? ids_T[first + thread] : 0;
    });
    for (int64_t begin = 0; begin < T; begin += kThreads) {
      const int64_t count = T - begin < kThreads ? T - begin : kThreads;
      block.each([&](int thread) { shared.ids[thread] = thread < count ? ids_T[begin + thread] : 0; });
      block.each([&](int thread) {
        for (int64_t i = 0; i < count; ++i)
          rank[thread] += shared.ids[i] < id[thread] || (shared.ids[i] == id[thread] && begin + i < first + thread);
      });
    }
    block.each([&](int thread) {
      if (first + thread < T) token_of[rank[thread]] = static_cast<int32_t>(first + thread);
    });
  }
};

// The block of the first token of an id (by rank) adds all of them.
struct ScatterAddKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  const int32_t *ids_T, *token_of;
  int64_t skip;  // an id that gets nothing
  float scale;
  Dropout dropout;
  View<const float> dx;
  View<float> table;

  int64_t blocks() const { return dx.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t first = block.index(), T = dx.rows, D = dx.cols;
    const int32_t id = ids_T[token_of[first]];
    if (id == skip || (first > 0 && ids_T[token_of[first - 1]] == id)) return;
    block.each([&](int thread) {
      for (int64_t d = thread; d < D; d += kThreads) {
        float sum = table(id, d);
        for (int64_t rank = first; rank < T; ++rank) {
          const int64_t t = token_of[rank];
          if (ids_T[t] != id) break;
          sum += scale * (dx(t, d) * dropout.scale(t, d, D));
        }
        table(id, d) = sum;
      }
    });
  }
};

}  // namespace troupe::cuda
