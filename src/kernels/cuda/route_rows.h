// From choices to places and rows (ops/route), by counting: tiles of choices, the sum over the tiles before, the choices
// before in the own tile.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/cuda/route.h"

namespace troupe::cuda {

// order[i]: the token that comes i-th in its group, by its largest probability, then by position.
struct RouteOrderKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  RouteSizes s;
  float* top;  // [T], memory to work in
  int32_t* order;

  int64_t blocks() const { return s.T == 0 ? 0 : (s.T + s.group_size - 1) / s.group_size; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t begin = block.index() * s.group_size, end = begin + s.group_size < s.T ? begin + s.group_size : s.T;
    block.each([&](int thread) {
      for (int64_t t = begin + thread; t < end; t += kThreads) {
        float max = s.prob(t, 0);
        for (int64_t e = 1; e < s.E; ++e)
          if (max < s.prob(t, e)) max = s.prob(t, e);
        top[t] = max;
      }
    });
    block.each([&](int thread) {
      for (int64_t t = begin + thread; t < end; t += kThreads) {
        int64_t before = begin;
        for (int64_t other = begin; other < end; ++other)
          before += top[other] > top[t] || (top[other] == top[t] && other < t);
        order[before] = static_cast<int32_t>(t);
      }
    });
  }
};

// Choices in an order, cut into tiles that do not cross a group.
struct ChoiceOrder {
  static constexpr int kTile = 256;

  int64_t T, K, group_size;
  const int32_t* expert_TK;
  const uint8_t* kept_TK;  // nullptr: all choices count, by rank, then token; else the kept ones, by token
  const int32_t* order_T;  // of tokens; nullptr: as they stand

  TROUPE_KERNEL int64_t group_tokens(int64_t g) const {
    return (g + 1) * group_size < T ? group_size : T - g * group_size;
  }
  int64_t groups() const { return T == 0 ? 0 : (T + group_size - 1) / group_size; }
  int64_t tiles_of_a_group() const { return blocks_of(group_size * K, kTile); }

  // The j-th choice of group g, an index of [T, K]; -1 beyond its last.
  TROUPE_KERNEL int64_t choice(int64_t g, int64_t j) const {
    const int64_t tokens = group_tokens(g), begin = g * group_size;
    if (j >= tokens * K) return -1;
    if (kept_TK) return begin * K + j;
    const int64_t at = begin + j % tokens;
    return (order_T ? order_T[at] : at) * K + j / tokens;
  }
  TROUPE_KERNEL int32_t expert_of(int64_t choice) const {
    return choice < 0 || (kept_TK && !kept_TK[choice]) ? -1 : expert_TK[choice];
  }
};

// counts[g, tile, e] = how many choices of the tile are for e
struct TileCountsKernel {
  static constexpr int kThreads = ChoiceOrder::kTile;
  struct Shared {
    int32_t expert[kThreads];
  };

  ChoiceOrder order;
  int64_t E, tiles;  // of a group
  int32_t* counts;

  int64_t blocks() const { return order.groups() * tiles; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t g = block.index() / tiles, tile = block.index() % tiles;
    block.each([&](int thread) { shared.expert[thread] = order.expert_of(order.choice(g, tile * kThreads + thread)); });
    block.each([&](int thread) {
      for (int64_t e = thread; e < E; e += kThreads) {
        int32_t count = 0;
        for (int i = 0; i < kThreads; ++i) count += shared.expert[i] == e;
        counts[block.index() * E + e] = count;
      }
    });
  }
};

// counts[g, tile, e] becomes the sum over the tiles before; totals[g, e] that over all.
struct ScanTilesKernel {
  static constexpr int kThreads = 128, kAhead = 16;  // kAhead: counts on their way to a thread
  using Shared = NoShared;

  int64_t groups, E, tiles;
  int32_t *counts, *totals;

  int64_t blocks() const { return blocks_of(groups * E, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      const int64_t at = block.index() * kThreads + thread, g = at / E, e = at % E;
      if (at >= groups * E) return;
      int32_t sum = 0, ahead[kAhead];
      for (int64_t first = 0; first < tiles; first += kAhead) {
        int32_t* const from = counts + (g * tiles + first) * E + e;
        for (int i = 0; i < kAhead; ++i) ahead[i] = first + i < tiles ? from[i * E] : 0;
        for (int i = 0; i < kAhead; ++i) {
          if (first + i < tiles) from[i * E] = sum;
          sum += ahead[i];
        }
      }
      totals[at] = sum;
    });
  }
};

// The number of a choice among those of its group for the same expert.
struct CountedBefore {
  int32_t expert[ChoiceOrder::kTile];
  TROUPE_KERNEL int32_t operator()(int thread) const {
    int32_t count = 0;
    for (int i = 0; i < thread; ++i) count += expert[i] == expert[thread];
    return count;
  }
};

struct PlaceKernel {
  static constexpr int kThreads = ChoiceOrder::kTile;
  using Shared = CountedBefore;

  ChoiceOrder order;
  RouteSizes s;
  int64_t tiles;
  const int32_t* before;                 // counts, after ScanTilesKernel
  int64_t places, places_in_last_group;  // of an expert

  int64_t blocks() const { return order.groups() * tiles; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t g = block.index() / tiles, first = block.index() % tiles * kThreads;
    const int64_t capacity = (g + 1) * order.group_size < order.T ? places : places_in_last_group;
    block.each([&](int thread) { shared.expert[thread] = order.expert_of(order.choice(g, first + thread)); });
    block.each([&](int thread) {
      const int64_t i = order.choice(g, first + thread);
      if (i < 0) return;
      const int32_t expert = shared.expert[thread];
      const int32_t place = expert < 0 ? -1 : before[block.index() * s.E + expert] + shared(thread);
      s.place_TK[i] = place;
      s.kept_TK[i] = expert >= 0 && place < capacity;
    });
  }
};

// offsets[e] = sum of totals before e
struct OffsetsKernel {
  static constexpr int kThreads = 32;
  using Shared = NoShared;

  int64_t E;
  const int32_t* totals;
  int64_t *offsets, *told;  // told: again, beside what else the host is told

  int64_t blocks() const { return 1; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      if (thread != 0) return;
      int64_t row = offsets[0] = told[0] = 0;
      for (int64_t e = 0; e < E; ++e) offsets[e + 1] = told[e + 1] = row += totals[e];
    });
  }
};

// From kept choices to rows sorted by expert.
struct RouteRowsKernel {
  static constexpr int kThreads = ChoiceOrder::kTile;
  using Shared = CountedBefore;

  ChoiceOrder order;  // of kept choices, one group
  int64_t E, tiles;
  const int32_t* before;
  const int64_t* offsets;
  int32_t *token_of_R, *choice_of_R, *row_of_TK;

  int64_t blocks() const { return order.groups() * tiles; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t first = block.index() * kThreads;
    block.each([&](int thread) { shared.expert[thread] = order.expert_of(order.choice(0, first + thread)); });
    block.each([&](int thread) {
      const int64_t i = order.choice(0, first + thread);
      const int32_t expert = shared.expert[thread];
      if (i < 0) return;
      row_of_TK[i] = -1;
      if (expert < 0) return;
      const int64_t row = offsets[expert] + before[block.index() * E + expert] + shared(thread);
      token_of_R[row] = static_cast<int32_t>(i / order.K);
      choice_of_R[row] = static_cast<int32_t>(i % order.K);
      row_of_TK[i] = static_cast<int32_t>(row);
    });
  }
};

}  // namespace troupe::cuda
