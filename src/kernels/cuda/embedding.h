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

// before[chunk][t] = tokens of the chunk that come before t by (id, token).
struct CountBeforeKernel {
  static constexpr int kThreads = 256;
  static constexpr int kChunk = 1024;
  struct Shared {
    int32_t ids[kChunk];
  };

  const int32_t* ids_T;
  int64_t T;
  int32_t* before;

  int64_t chunks() const { return blocks_of(T, kChunk); }
  int64_t blocks() const { return chunks() * blocks_of(T, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t tiles = (T + kThreads - 1) / kThreads, chunk = block.index() / tiles, begin = chunk * kChunk;
    const int64_t first = block.index() % tiles * kThreads;
    const int count = static_cast<int>(T - begin < kChunk ? T - begin : kChunk);
    block.each([&](int thread) {
      for (int i = thread; i < count; i += kThreads) shared.ids[i] = ids_T[begin + i];
    });
    block.each([&](int thread) {
      const int64_t t = first + thread;
      if (t >= T) return;
      const int32_t id = ids_T[t];
      const int earlier = static_cast<int>(t < begin ? 0 : t - begin < count ? t - begin : count);
      int32_t found = 0;
      for (int i = 0; i < earlier; ++i) found += shared.ids[i] <= id;
      for (int i = earlier; i < count; ++i) found += shared.ids[i] < id;
      before[chunk * T + t] = found;
    });
  }
};

// token_of[rank of t] = t, the rank by (id, t).
struct RankIdsKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  const int32_t* before;  // of CountBeforeKernel
  int64_t chunks, T;
  int32_t* token_of;

  int64_t blocks() const { return blocks_of(T, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, T, [&](int64_t t) {
      int64_t rank = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) rank += before[chunk * T + t];
      token_of[rank] = static_cast<int32_t>(t);
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
