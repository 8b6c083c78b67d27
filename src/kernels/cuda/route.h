// Routing by every policy (ops/route): the loops of kernels/route.h over one token stay in one thread, in their order,
// so that decisions have the host's bits. Places and rows are in route_rows.h, losses in route_losses.h.
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

}  // namespace troupe::cuda
