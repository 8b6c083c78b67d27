// Routing by every policy and its losses (ops/route): the loops of kernels/route.h over one token stay in
// one thread, in their order, so that decisions have the host's bits. Places and rows come from counting: tiles of
// choices, the sum over the tiles before, the choices before in the own tile.
#pragma once

#include <cmath>

#include "base/rng.h"
#include "kernels/cuda/grid.h"

namespace troupe::cuda {

// The host's std::exp of a float: rounded from double, as the C library's nearly always is.
TROUPE_KERNEL float exact_exp(float x) {
#ifdef __CUDACC__
  return static_cast<float>(::exp(static_cast<double>(x)));
#else
  return std::exp(x);
#endif
}
TROUPE_KERNEL float exact_log(float x) {
#ifdef __CUDACC__
  return static_cast<float>(::log(static_cast<double>(x)));
#else
  return std::log(x);
#endif
}

// RouteRequest, MoeConfig and Routing, as far as the device reads them.
struct RouteSizes {
  enum Normalize { kNever, kBeforeDropping, kAfterDropping };
  enum Choice { kByLogits, kByScore, kByHash, kByExperts };

  int64_t T, E, K, group_size;
  Choice choice;
  bool sigmoid;
  bool noisy, random;  // second choices: Gumbel noise; taken with probability 2 p
  int64_t groups, groups_kept;
  const float* bias_E;  // nullptr: none
  const int32_t* ids_T;
  uint64_t hash_key;
  int64_t id_stride;  // kMaxTopK
  float output_scale;
  int64_t counted;  // choices of a token that the balance loss counts
  Normalize normalize;
  uint64_t key;
  int64_t first_token;
  const uint8_t* token_valid;  // nullptr: every token is routed
  int32_t *expert_TK, *place_TK;
  uint8_t* kept_TK;
  View<float> prob;

  TROUPE_KERNEL double uniform_at(uint64_t element) const {
    return (static_cast<double>(philox(key, element)[0]) + 0.5) * 0x1.0p-32;
  }
  TROUPE_KERNEL float sum_of_scores(int64_t t) const {
    if (!sigmoid) return 1.0f;
    float sum = 0.0f;
    for (int64_t e = 0; e < E; ++e) sum += prob(t, e);
    return sum;
  }
};

struct RouteChooseKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  RouteSizes s;
  View<const float> logits;
  double* entropy;  // of every block's tokens

  // Appends the expert with the largest value that is not chosen yet and in a group that is open.
  template <class Value>
  TROUPE_KERNEL void choose_next(int64_t k, int32_t* expert_K, const Value& value) const {
    float best = -INFINITY;
    int32_t best_expert = -1;
    for (int64_t e = 0; e < s.E; ++e) {
      bool chosen = false;
      for (int64_t i = 0; i < k; ++i) chosen |= expert_K[i] == e;
      if (chosen) continue;
      const float of_e = value(e);
      if (best_expert < 0 || of_e > best) best = of_e, best_expert = static_cast<int32_t>(e);
    }
    expert_K[k] = best_expert;
  }

  TROUPE_KERNEL void by_logits(int64_t t, int32_t* expert_K) const {
    const float *const z = logits.row(t), *const p = s.prob.row(t);
    const auto token = static_cast<uint64_t>(s.first_token + t);
    int32_t first = 0;
    for (int64_t e = 1; e < s.E; ++e)
      if (p[first] < p[e]) first = static_cast<int32_t>(e);
    expert_K[0] = first;
    for (int64_t k = 1; k < s.K; ++k)
      choose_next(k, expert_K, [&](int64_t e) {
        float value = z[e];
        if (s.noisy) value -= static_cast<float>(::log(-::log(s.uniform_at(token * static_cast<uint64_t>(s.E) + e))));
        return value;
      });
    if (s.random && 2.0 * static_cast<double>(p[expert_K[1]]) <= s.uniform_at(token)) expert_K[1] = -1;
  }

  TROUPE_KERNEL float score(int64_t t, int64_t e) const { return s.bias_E ? s.prob(t, e) + s.bias_E[e] : s.prob(t, e); }
  TROUPE_KERNEL float value_of_group(int64_t t, int64_t g) const {
    const int64_t size = s.E / s.groups;
    float first = score(t, g * size), second = size > 1 ? -INFINITY : 0.0f;
    for (int64_t e = g * size + 1; e < (g + 1) * size; ++e) {
      const float value = score(t, e);
      if (value > first)
        second = first, first = value;
      else if (value > second)
        second = value;
    }
    return first + second;
  }
  TROUPE_KERNEL bool is_open(int64_t t, int64_t g) const {
    const float own = value_of_group(t, g);
    int64_t before = 0;
    for (int64_t other = 0; other < s.groups; ++other) {
      const float value = value_of_group(t, other);
      before += value > own || (value == own && other < g);
    }
    return before < s.groups_kept;
  }
  TROUPE_KERNEL void by_score(int64_t t, int32_t* expert_K) const {
    const int64_t size = s.E / s.groups;
    for (int64_t k = 0; k < s.K; ++k) {
      int64_t group = -1;
      bool open = true;
      choose_next(k, expert_K, [&](int64_t e) {
        if (s.groups > 1 && e / size != group) group = e / size, open = is_open(t, group);
        return open ? score(t, e) : -INFINITY;
      });
    }
  }

  TROUPE_KERNEL void by_hash(int64_t t, int32_t* expert_K) const {
    float* const p = s.prob.row(t);
    for (int64_t e = 0; e < s.E; ++e) p[e] = 0.0f;
    for (int64_t k = 0; k < s.K; ++k) {
      const uint64_t word = philox(s.hash_key, static_cast<uint64_t>(s.ids_T[t] * s.id_stride + k))[0];
      int64_t left = static_cast<int64_t>(word * static_cast<uint64_t>(s.E - k) >> 32), e = 0;
      while (p[e] > 0.0f || left-- > 0) ++e;
      p[e] = 1.0f / static_cast<float>(s.K), expert_K[k] = static_cast<int32_t>(e);
    }
  }

  TROUPE_KERNEL void probabilities(int64_t t) const {
    const float* const z = logits.row(t);
    float* const p = s.prob.row(t);
    if (s.sigmoid) {
      for (int64_t e = 0; e < s.E; ++e) p[e] = 1.0f / (1.0f + exact_exp(-z[e]));
      return;
    }
    float max = z[0], sum = 0.0f;
    for (int64_t e = 1; e < s.E; ++e)
      if (max < z[e]) max = z[e];
    for (int64_t e = 0; e < s.E; ++e) sum += p[e] = exact_exp(z[e] - max);
    for (int64_t e = 0; e < s.E; ++e) p[e] /= sum;
  }

  TROUPE_KERNEL void choose(int64_t t) const {
    int32_t* const expert_K = s.expert_TK + t * s.K;
    if (s.choice == RouteSizes::kByHash) {
      by_hash(t, expert_K);
    } else {
      probabilities(t);
      if (s.choice == RouteSizes::kByExperts)
        for (int64_t e = 0; e < s.E; ++e) expert_K[e] = static_cast<int32_t>(e);
      else if (s.choice == RouteSizes::kByScore)
        by_score(t, expert_K);
      else
        by_logits(t, expert_K);
    }
    if (s.token_valid && !s.token_valid[t])
      for (int64_t k = 0; k < s.K; ++k) expert_K[k] = -1;
  }

  int64_t blocks() const { return blocks_of(s.T, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    PerThread<double, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0;
      const int64_t t = block.index() * kThreads + thread;
      if (t >= s.T) return;
      choose(t);
      const float scores = s.sum_of_scores(t);
      for (int64_t e = 0; e < s.E; ++e)
        if (const float p = s.prob(t, e) / scores; p > 0.0f) part[thread] -= static_cast<double>(p * exact_log(p));
    });
    const double sum = block.sum(part);
    block.each([&](int thread) {
      if (thread == 0) entropy[block.index()] = sum;
    });
  }
};

// host::let_experts_choose, a block an expert of a group. The smallest probability that is taken is found bit by bit
// (bits of floats without a sign are in their order), then tokens above it, and the first ones at it, are kept.
struct ExpertsChooseKernel {
  static constexpr int kThreads = 256;
  struct Shared {
    int32_t above[kThreads], at[kThreads];
  };

  RouteSizes s;
  int64_t taken, taken_of_last_group;  // ceil(K S / E)

  TROUPE_KERNEL static uint32_t bits_of(float p) {
#ifdef __CUDACC__
    return __float_as_uint(p) & 0x7fffffffu;
#else
    return __builtin_bit_cast(uint32_t, p) & 0x7fffffffu;
#endif
  }

  int64_t blocks() const { return s.T == 0 ? 0 : (s.T + s.group_size - 1) / s.group_size * s.E; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t g = block.index() / s.E, e = block.index() % s.E, begin = g * s.group_size;
    const bool is_last = (g + 1) * s.group_size >= s.T;
    const int64_t end = is_last ? s.T : begin + s.group_size, each = (end - begin + kThreads - 1) / kThreads;
    const auto is_valid = [&](int64_t t) { return s.expert_TK[t * s.E + e] >= 0; };
    PerThread<int32_t, kThreads> count;
    block.each([&](int thread) {
      count[thread] = 0;
      for (int64_t t = begin + thread; t < end; t += kThreads) count[thread] += is_valid(t);
    });
    const int64_t valid = block.sum(count), room = is_last ? taken_of_last_group : taken;
    const int64_t wanted = valid < room ? valid : room;
    uint32_t threshold = 0;  // the largest with `wanted` tokens at or above it
    for (int bit = 30; bit >= 0; --bit) {
      const uint32_t candidate = threshold | uint32_t{1} << bit;
      block.each([&](int thread) {
        count[thread] = 0;
        for (int64_t t = begin + thread; t < end; t += kThreads)
          count[thread] += is_valid(t) && bits_of(s.prob(t, e)) >= candidate;
      });
      if (block.sum(count) >= wanted) threshold = candidate;
    }
    block.each([&](int thread) {  // of the thread's own run of tokens
      shared.above[thread] = shared.at[thread] = 0;
      for (int64_t t = begin + thread * each; t < begin + (thread + 1) * each && t < end; ++t) {
        if (!is_valid(t)) continue;
        shared.above[thread] += bits_of(s.prob(t, e)) > threshold;
        shared.at[thread] += bits_of(s.prob(t, e)) == threshold;
      }
    });
    block.each([&](int thread) {
      int64_t left = wanted;  // for tokens at the threshold that stand here or later
      for (int i = 0; i < kThreads; ++i) left -= shared.above[i];
      for (int i = 0; i < thread; ++i) left -= shared.at[i];
      for (int64_t t = begin + thread * each; t < begin + (thread + 1) * each && t < end; ++t) {
        const uint32_t bits = bits_of(s.prob(t, e));
        const bool kept = is_valid(t) && (bits > threshold || (bits == threshold && left-- > 0));
        s.kept_TK[t * s.E + e] = kept;
        s.place_TK[t * s.E + e] = kept ? 0 : -1;
      }
    });
  }
};

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
  int64_t* offsets;

  int64_t blocks() const { return 1; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      if (thread != 0) return;
      offsets[0] = 0;
      for (int64_t e = 0; e < E; ++e) offsets[e + 1] = offsets[e] + totals[e];
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

// What weights are made of (host::Gate).
struct DeviceGate {
  const RouteSizes& s;
  int64_t t;
  float divisor;
  bool clamped;

  TROUPE_KERNEL DeviceGate(const RouteSizes& sizes, int64_t token) : s(sizes), t(token) {
    constexpr float kEpsilon = 1.1920928955078125e-07f;
    float sum = 0.0f;
    for (int64_t k = 0; k < s.K; ++k)
      if (s.normalize == RouteSizes::kBeforeDropping || kept(k)) sum += p(k);
    clamped = sum < kEpsilon;
    divisor = clamped ? kEpsilon : sum;
  }
  TROUPE_KERNEL int32_t expert(int64_t k) const { return s.expert_TK[t * s.K + k]; }
  TROUPE_KERNEL bool kept(int64_t k) const { return s.kept_TK[t * s.K + k]; }
  TROUPE_KERNEL float p(int64_t k) const { return expert(k) < 0 ? 0.0f : s.prob(t, expert(k)); }
};

// chosen[k, block], kept[k, block]: how many tokens of the block have a choice of rank k, and one that is kept
struct CountChoicesKernel {
  static constexpr int kThreads = 256;
  using Shared = NoShared;

  RouteSizes s;
  int32_t *chosen, *kept;

  int64_t blocks() const { return s.K * blocks_of(s.T, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t per_rank = (s.T + kThreads - 1) / kThreads, k = block.index() / per_rank;
    const int64_t first = block.index() % per_rank * kThreads;
    PerThread<int32_t, kThreads> has, keeps;
    block.each([&](int thread) {
      const int64_t t = first + thread;
      has[thread] = t < s.T && s.expert_TK[t * s.K + k] >= 0;
      keeps[thread] = t < s.T && s.kept_TK[t * s.K + k];
    });
    const int32_t num_chosen = block.sum(has), num_kept = block.sum(keeps);
    block.each([&](int thread) {
      if (thread == 0) chosen[block.index()] = num_chosen, kept[block.index()] = num_kept;
    });
  }
};

// Every token's rows, and their weights.
struct RouteTokensKernel {
  static constexpr int kThreads = 256;
  struct Shared {
    int32_t kept[kThreads];
  };

  RouteSizes s;
  const int32_t *kept, *row_of_TK;  // kept: of CountChoicesKernel
  int32_t *rows_by_token, *begin_T;
  float* weight_R;

  int64_t blocks() const { return blocks_of(s.T, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t per_rank = (s.T + kThreads - 1) / kThreads, first = block.index() * kThreads;
    PerThread<int32_t, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0;
      for (int64_t k = 0; k < s.K; ++k)
        for (int64_t i = thread; i < block.index(); i += kThreads) part[thread] += kept[k * per_rank + i];
      shared.kept[thread] = 0;
      for (int64_t k = 0; first + thread < s.T && k < s.K; ++k)
        shared.kept[thread] += s.kept_TK[(first + thread) * s.K + k];
    });
    const int32_t before = block.sum(part);
    block.each([&](int thread) {
      const int64_t t = first + thread;
      if (t >= s.T) return;
      int32_t at = before;
      for (int i = 0; i < thread; ++i) at += shared.kept[i];
      begin_T[t] = at;
      const DeviceGate gate(s, t);
      const float divisor = s.normalize == RouteSizes::kNever ? 1.0f : gate.divisor;
      for (int64_t k = 0; k < s.K; ++k) {
        if (!gate.kept(k)) continue;
        const int32_t row = row_of_TK[t * s.K + k];
        rows_by_token[at++] = row;
        weight_R[row] = gate.p(k) / divisor * s.output_scale;
      }
      if (t == s.T - 1) begin_T[s.T] = at;
    });
  }
};

// host::route_backward, a thread a token
struct RouteBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  RouteSizes s;
  const int32_t *rows_by_token, *begin_T, *choice_of_R;
  const float* dweight_R;
  View<const float> dprob_GE;
  View<float> dlogits;

  TROUPE_KERNEL void add_weight_gradient(int64_t t, float* dprob) const {
    const DeviceGate gate(s, t);
    const int32_t* const rows = rows_by_token + begin_T[t];
    const int32_t num_rows = begin_T[t + 1] - begin_T[t];
    float projection = 0.0f;
    for (int32_t i = 0; i < num_rows; ++i)
      projection += s.output_scale * dweight_R[rows[i]] * (gate.p(choice_of_R[rows[i]]) / gate.divisor);
    int32_t next = 0;
    for (int64_t k = 0; k < s.K; ++k) {
      if (gate.expert(k) < 0) continue;
      const float dw = gate.kept(k) ? s.output_scale * dweight_R[rows[next++]] : 0.0f;
      float dp = 0.0f;
      if (s.normalize == RouteSizes::kNever)
        dp = dw;
      else if (s.normalize == RouteSizes::kBeforeDropping || gate.kept(k))
        dp = (dw - (gate.clamped ? 0.0f : projection)) / gate.divisor;
      dprob[gate.expert(k)] += dp;
    }
  }

  int64_t blocks() const { return blocks_of(s.T, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      const int64_t t = block.index() * kThreads + thread;
      if (t >= s.T) return;
      float* const dprob = dlogits.row(t);
      for (int64_t e = 0; e < s.E; ++e) dprob[e] = dprob_GE(t / s.group_size, e);
      float dot = 0.0f;
      if (s.sigmoid) {
        const float sum = s.sum_of_scores(t);
        for (int64_t e = 0; e < s.E; ++e) dot += dprob[e] * (s.prob(t, e) / sum);
        for (int64_t e = 0; e < s.E; ++e) dprob[e] = (dprob[e] - dot) / sum;
        add_weight_gradient(t, dprob);
        for (int64_t e = 0; e < s.E; ++e) dprob[e] = s.prob(t, e) * (dprob[e] * (1.0f - s.prob(t, e)));
        return;
      }
      add_weight_gradient(t, dprob);
      for (int64_t e = 0; e < s.E; ++e) dot += s.prob(t, e) * dprob[e];
      for (int64_t e = 0; e < s.E; ++e) dprob[e] = s.prob(t, e) * (dprob[e] - dot);
    });
  }
};

// For a part of a group's tokens and an expert, the sum of its probabilities and how many of the counted choices are
// for it.
struct GroupPartsKernel {
  static constexpr int kThreads = 256;
  static constexpr int64_t kTokens = 2048;  // of a part
  using Shared = NoShared;

  RouteSizes s;
  double* probability;  // [G, parts, E]; may be nullptr
  int32_t* counted;     // [G, parts, E]

  int64_t groups() const { return blocks_of(s.T, s.group_size); }
  TROUPE_KERNEL int64_t parts() const { return (s.group_size + kTokens - 1) / kTokens; }
  int64_t blocks() const { return s.T == 0 ? 0 : groups() * parts() * s.E; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t e = block.index() % s.E, part = block.index() / s.E % parts(), g = block.index() / s.E / parts();
    const int64_t begin = g * s.group_size + part * kTokens, group_end = (g + 1) * s.group_size;
    const int64_t part_end = begin + kTokens < group_end ? begin + kTokens : group_end;
    const int64_t end = part_end < s.T ? part_end : s.T;
    PerThread<double, kThreads> sum;
    PerThread<int32_t, kThreads> count;
    block.each([&](int thread) {
      sum[thread] = 0.0, count[thread] = 0;
      for (int64_t t = begin + thread; t < end; t += kThreads) {
        if (probability) sum[thread] += static_cast<double>(s.prob(t, e) / s.sum_of_scores(t));
        for (int64_t k = 0; k < s.counted; ++k) count[thread] += s.expert_TK[t * s.K + k] == e;
      }
    });
    const double total = block.sum(sum);
    const int32_t chosen = block.sum(count);
    block.each([&](int thread) {
      if (thread != 0) return;
      if (probability) probability[block.index()] = total;
      counted[block.index()] = chosen;
    });
  }
};

// What GroupPartsKernel found, part after part: each expert's probabilities [G, E] and its share of the counted choices
// of a group's tokens, and of the micro-batches before.
struct GroupSumsKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  int64_t T, E, group_size, choices, parts, groups;  // choices: counted ones of a token
  const double* part_of_probability;                 // may be nullptr, as `probability` then
  const int32_t* part_of_counted;
  const double* before_E;  // choices before; may be nullptr
  int64_t tokens_before;
  double *probability, *share;

  int64_t blocks() const { return blocks_of(groups * E, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      const int64_t at = block.index() * kThreads + thread, g = at / E, e = at % E;
      if (at >= groups * E) return;
      double sum = 0.0;
      int64_t count = before_E ? static_cast<int64_t>(before_E[e]) : 0;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t i = (g * parts + part) * E + e;
        if (part_of_probability) sum += part_of_probability[i];
        count += part_of_counted[i];
      }
      const int64_t tokens = ((g + 1) * group_size < T ? group_size : T - g * group_size) + tokens_before;
      if (probability) probability[at] = sum;
      share[at] = static_cast<double>(count) / static_cast<double>(choices * tokens);
    });
  }
};

// Some numbers of the host, which travel with the launch: it need not wait.
struct NumbersKernel {
  static constexpr int kThreads = 64, kMost = 64;
  using Shared = NoShared;

  int64_t count;
  double* to;
  double values[kMost];

  int64_t blocks() const { return 1; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      if (thread < count) to[thread] = values[thread];
    });
  }
};

// dprob[g, e] += scale_g E share[g, e] / S
struct BalanceBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  int64_t T, E, group_size;
  const double *share, *scale_G;
  View<float> dprob_GE;

  int64_t blocks() const { return blocks_of(dprob_GE.rows * E, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      const int64_t at = block.index() * kThreads + thread, g = at / E;
      if (at >= dprob_GE.rows * E) return;
      const int64_t tokens = (g + 1) * group_size < T ? group_size : T - g * group_size;
      const auto S = static_cast<double>(tokens);
      dprob_GE(g, at % E) += static_cast<float>(scale_G[g] * static_cast<double>(E) * share[at] / S);
    });
  }
};

// lse = log sum_e exp(z_te), a thread a token
struct RouterLseKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> logits;
  float* lse_T;

  int64_t blocks() const { return blocks_of(logits.rows, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      const int64_t t = block.index() * kThreads + thread;
      if (t >= logits.rows) return;
      const float* const z = logits.row(t);
      float max = z[0], sum = 0.0f;
      for (int64_t e = 1; e < logits.cols; ++e)
        if (max < z[e]) max = z[e];
      for (int64_t e = 0; e < logits.cols; ++e) sum += exact_exp(z[e] - max);
      lse_T[t] = max + exact_log(sum);
    });
  }
};

// dlogits += scale_g 2 lse_t p_te / S
struct RouterZBackwardKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  int64_t group_size;
  View<const float> prob;
  const float* lse_T;
  const double* scale_G;
  View<float> dlogits;

  int64_t blocks() const { return blocks_of(dlogits.rows * dlogits.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t T = dlogits.rows, E = dlogits.cols;
    each_element(block, T * E, [&](int64_t i) {
      const int64_t t = i / E, g = t / group_size;
      const int64_t tokens = (g + 1) * group_size < T ? group_size : T - g * group_size;
      dlogits(t, i % E) +=
          static_cast<float>(scale_G[g] * 2.0 / static_cast<double>(tokens)) * lse_T[t] * prob(t, i % E);
    });
  }
};

}  // namespace troupe::cuda
