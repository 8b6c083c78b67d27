#include "ops/route/top_k.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "base/threads.h"

namespace troupe {
namespace {

constexpr int64_t kRouteChunk = 256;

template <class real>
void softmax(std::span<const real> logits, real* prob) {
  const real max = *std::max_element(logits.begin(), logits.end());
  real sum = 0;
  for (size_t e = 0; e < logits.size(); ++e) sum += prob[e] = std::exp(logits[e] - max);
  for (size_t e = 0; e < logits.size(); ++e) prob[e] /= sum;
}

double uniform_at(uint64_t key, uint64_t element) {
  return (static_cast<double>(philox(key, element)[0]) + 0.5) * 0x1.0p-32;
}

// With `sampling` the second choice sees logits plus Gumbel noise (top2gate.py:83-94); with `random` it stays with
// probability 2 p.
template <class real>
void choose(const RouteTask& task, uint64_t token, std::span<const real> logits, const real* prob, int32_t* expert_K) {
  const MoeConfig& config = task.config;
  const auto E = static_cast<int64_t>(logits.size());
  expert_K[0] = static_cast<int32_t>(std::max_element(prob, prob + E) - prob);
  const bool noisy = task.training && config.top_k == 2 && config.second_choice == SecondChoice::kSampling;
  for (int64_t k = 1; k < config.top_k; ++k) {
    real best = -std::numeric_limits<real>::infinity();
    int32_t best_expert = -1;
    for (int64_t e = 0; e < E; ++e) {
      if (std::find(expert_K, expert_K + k, static_cast<int32_t>(e)) != expert_K + k) continue;
      real value = logits[e];
      if (noisy) value -= static_cast<real>(std::log(-std::log(uniform_at(task.key, token * E + e))));
      if (best_expert < 0 || value > best) best = value, best_expert = static_cast<int32_t>(e);
    }
    expert_K[k] = best_expert;
  }
  if (task.training && config.top_k == 2 && config.second_choice == SecondChoice::kRandom &&
      2.0 * static_cast<double>(prob[expert_K[1]]) <= uniform_at(task.key, token))
    expert_K[1] = -1;
}

// Probabilities and choices of every token. Returns the sum of entropies.
template <class real>
double choose_all(const RouteTask& task, Matrix<const real> logits_TE, Routing<real>& routing) {
  const int64_t T = routing.T, E = routing.E, K = routing.K;
  std::vector<double> entropy(static_cast<size_t>((T + kRouteChunk - 1) / kRouteChunk), 0.0);
  parallel_chunks(T, kRouteChunk, [&](int64_t begin, int64_t end) {
    double sum = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      const std::span<const real> logits(logits_TE.row(t), static_cast<size_t>(E));
      real* const prob = routing.prob_TE.row(t);
      int32_t* const expert_K = &routing.choices.expert_TK[t * K];
      softmax(logits, prob);
      for (int64_t e = 0; e < E; ++e)
        if (prob[e] > 0) sum -= static_cast<double>(prob[e] * std::log(prob[e]));
      choose(task, static_cast<uint64_t>(task.first_token + t), logits, prob, expert_K);
      if (task.config.pad_mask && !task.groups.token_valid.empty() && !task.groups.token_valid[t])
        std::fill_n(expert_K, K, -1);
    }
    entropy[static_cast<size_t>(begin / kRouteChunk)] = sum;
  });
  return std::accumulate(entropy.begin(), entropy.end(), 0.0);
}

// Those that overflowed count too: an over-full expert takes no second choices at all (top2gate.py:131-134).
template <class real>
void assign_places(const RouteTask& task, int64_t begin, int64_t end, Routing<real>& routing) {
  const int64_t K = routing.K, capacity = expert_capacity(task.config, task.capacity, task.training, end - begin);
  std::vector<int64_t> order(static_cast<size_t>(end - begin));
  std::iota(order.begin(), order.end(), begin);
  if (task.config.batch_prioritized) {
    const auto top = [&](int64_t t) {
      return *std::max_element(routing.prob_TE.row(t), routing.prob_TE.row(t) + routing.E);
    };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return top(a) > top(b); });
  }
  std::vector<int64_t> taken(static_cast<size_t>(routing.E), 0);
  for (int64_t k = 0; k < K; ++k)
    for (const int64_t t : order) {
      const int64_t i = t * K + k;
      const int32_t expert = routing.choices.expert_TK[i];
      const int64_t place = expert < 0 ? -1 : taken[static_cast<size_t>(expert)]++;
      routing.choices.place_TK[i] = static_cast<int32_t>(place);
      routing.choices.kept_TK[i] = expert >= 0 && place < capacity;
    }
}

// What weights are made of: the probabilities p of a token's choices (0 if masked), and the sum that divides them,
// before and after clamping (fairseq: torch.finfo(dtype).eps).
template <class real>
struct Gate {
  const Routing<real>& routing;
  int64_t t;
  real sum = 0, divisor = 0;
  bool clamped = false;

  Gate(const MoeConfig& config, const Routing<real>& routing, int64_t t) : routing(routing), t(t) {
    for (int64_t k = 0; k < routing.K; ++k)
      if (config.normalize == Normalize::kBeforeDropping || kept(k)) sum += p(k);
    constexpr real kEpsilon = std::numeric_limits<real>::epsilon();
    clamped = sum < kEpsilon;
    divisor = std::max(sum, kEpsilon);
  }
  int32_t expert(int64_t k) const { return routing.choices.expert_TK[t * routing.K + k]; }
  bool kept(int64_t k) const { return routing.choices.kept_TK[t * routing.K + k]; }
  real p(int64_t k) const { return expert(k) < 0 ? real{0} : routing.prob_TE(t, expert(k)); }
};

template <class real>
void weigh(const RouteTask& task, Routing<real>& routing) {
  parallel_chunks(routing.T, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Gate<real> gate(task.config, routing, t);
      const real divisor = task.config.normalize == Normalize::kNever ? real{1} : gate.divisor;
      for (const int32_t row : routing.rows.rows_of(t))
        routing.rows.weight_R[row] = gate.p(routing.rows.choice_of_R[row]) / divisor;
    }
  });
}

template <class real>
void count(const Routing<real>& routing, RouterStats& stats) {
  stats.load_E.assign(static_cast<size_t>(routing.E), 0);
  stats.dropped_K.assign(static_cast<size_t>(routing.K), 0);
  for (int64_t i = 0; i < routing.T * routing.K; ++i) {
    if (routing.choices.expert_TK[i] < 0) continue;
    ++stats.load_E[static_cast<size_t>(routing.choices.expert_TK[i])];
    stats.dropped_K[static_cast<size_t>(i % routing.K)] += !routing.choices.kept_TK[i];
  }
}

template <class real>
void select(const RouteTask& task, Matrix<const real> logits_TE, Routing<real>& routing, RouterStats& stats) {
  stats.entropy_sum = choose_all(task, logits_TE, routing);
  parallel_for(task.groups.count(routing.T), [&](int64_t g) {
    assign_places(task, g * task.groups.size, std::min(routing.T, (g + 1) * task.groups.size), routing);
  });
  sort_by_expert<real>(routing.E, routing.choices.expert_TK, routing.choices.kept_TK, routing.rows);
  weigh(task, routing);
  count(routing, stats);
}

// Adds to dprob_E the gradient by the probabilities of a token's choices. With w_k = p_k / s, s the sum over the
// choices that count: dp_k = (dw_k - sum_j dw_j w_j) / s, where the sum is the part through s (none if s is clamped).
template <class real>
void add_weight_gradient(const MoeConfig& config, const Routing<real>& routing, int64_t t,
                         std::span<const real> dweight_R, real* dprob_E) {
  const Gate<real> gate(config, routing, t);
  const std::span<const int32_t> rows = routing.rows.rows_of(t);
  real projection = 0;
  for (const int32_t row : rows) projection += dweight_R[row] * (gate.p(routing.rows.choice_of_R[row]) / gate.divisor);
  size_t next = 0;
  for (int64_t k = 0; k < routing.K; ++k) {
    if (gate.expert(k) < 0) continue;
    const real dw = gate.kept(k) ? dweight_R[rows[next++]] : real{0};
    real dp = 0;
    if (config.normalize == Normalize::kNever)
      dp = dw;
    else if (config.normalize == Normalize::kBeforeDropping || gate.kept(k))
      dp = (dw - (gate.clamped ? real{0} : projection)) / gate.divisor;
    dprob_E[gate.expert(k)] += dp;
  }
}

template <class real>
void select_backward(const RouteTask& task, const Routing<real>& routing, std::span<const real> dweight_R,
                     Matrix<const real> dprob_GE, Matrix<real> dlogits_TE) {
  const int64_t E = routing.E;
  parallel_chunks(routing.T, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      real* const dprob = dlogits_TE.row(t);
      std::copy_n(dprob_GE.row(t / task.groups.size), E, dprob);
      add_weight_gradient(task.config, routing, t, dweight_R, dprob);
      const real* const prob = routing.prob_TE.row(t);
      real dot = 0;
      for (int64_t e = 0; e < E; ++e) dot += prob[e] * dprob[e];
      for (int64_t e = 0; e < E; ++e) dprob[e] = prob[e] * (dprob[e] - dot);
    }
  });
}

}  // namespace

template <class real>
RouterPolicy<real> top_k_policy() {
  return {.name = "top_k",
          .causal = true,
          .max_rows = [](const MoeConfig& config, int64_t num_tokens) { return num_tokens * config.top_k; },
          .select = select<real>,
          .backward = select_backward<real>};
}

template RouterPolicy<float> top_k_policy();
template RouterPolicy<double> top_k_policy();

}  // namespace troupe
