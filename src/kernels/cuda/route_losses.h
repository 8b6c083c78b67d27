// The losses of routing (ops/route/losses.h). Sums over a group's tokens are those of its parts, in order.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/cuda/route.h"

namespace troupe::cuda {

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
