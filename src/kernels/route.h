// Routing by the policy "top_k" and the losses of routing on the host, in parallel over tokens and groups; tasks are
// those of ops/route.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "base/rng.h"
#include "base/threads.h"
#include "tensor/host_matrix.h"
#include "troupe/config.h"

namespace troupe::host {

inline constexpr int64_t kRouteChunk = 256;

template <class real>
void softmax(const real* logits, int64_t E, real* prob) {
  const real max = *std::max_element(logits, logits + E);
  real sum = 0;
  for (int64_t e = 0; e < E; ++e) sum += prob[e] = std::exp(logits[e] - max);
  for (int64_t e = 0; e < E; ++e) prob[e] /= sum;
}

inline double uniform_at(uint64_t key, uint64_t element) {
  return (static_cast<double>(philox(key, element)[0]) + 0.5) * 0x1.0p-32;
}

// With `sampling` the second choice sees logits plus Gumbel noise (top2gate.py:83-94); with `random` it stays with
// probability 2 p.
template <class Request, class real>
void choose(const Request& request, int64_t t, const real* logits, const real* prob, int64_t E, int32_t* expert_K) {
  const MoeConfig& config = request.config;
  const auto token = static_cast<uint64_t>(request.first_token + t);
  expert_K[0] = static_cast<int32_t>(std::max_element(prob, prob + E) - prob);
  const bool noisy = request.training && config.top_k == 2 && config.second_choice == SecondChoice::kSampling;
  for (int64_t k = 1; k < config.top_k; ++k) {
    real best = -std::numeric_limits<real>::infinity();
    int32_t best_expert = -1;
    for (int64_t e = 0; e < E; ++e) {
      if (std::find(expert_K, expert_K + k, static_cast<int32_t>(e)) != expert_K + k) continue;
      real value = logits[e];
      if (noisy) value -= static_cast<real>(std::log(-std::log(uniform_at(request.key, token * E + e))));
      if (best_expert < 0 || value > best) best = value, best_expert = static_cast<int32_t>(e);
    }
    expert_K[k] = best_expert;
  }
  if (request.training && config.top_k == 2 && config.second_choice == SecondChoice::kRandom &&
      2.0 * static_cast<double>(prob[expert_K[1]]) <= uniform_at(request.key, token))
    expert_K[1] = -1;
}

// Probabilities and choices of every token. Returns the sum of entropies.
template <class Task>
double choose_all(const Task& task) {
  using real = typename Task::real;
  const auto& routing = task.routing;
  const HostMatrix<const real> logits_TE = task.logits_TE;
  const HostMatrix<real> prob_TE = routing.prob_TE;
  const int64_t T = routing.T, E = routing.E, K = routing.K;
  const std::span<const uint8_t> token_valid = task.request.groups.token_valid;
  std::vector<double> entropy(static_cast<size_t>((T + kRouteChunk - 1) / kRouteChunk), 0.0);
  parallel_chunks(T, kRouteChunk, [&](int64_t begin, int64_t end) {
    double sum = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      const real* const logits = logits_TE.row(t);
      real* const prob = prob_TE.row(t);
      int32_t* const expert_K = &routing.choices.expert_TK[t * K];
      softmax(logits, E, prob);
      for (int64_t e = 0; e < E; ++e)
        if (prob[e] > 0) sum -= static_cast<double>(prob[e] * std::log(prob[e]));
      choose(task.request, t, logits, prob, E, expert_K);
      if (task.request.config.pad_mask && !token_valid.empty() && !token_valid[t]) std::fill_n(expert_K, K, -1);
    }
    entropy[static_cast<size_t>(begin / kRouteChunk)] = sum;
  });
  return std::accumulate(entropy.begin(), entropy.end(), 0.0);
}

// Those that overflowed count too: an over-full expert takes no second choices at all (top2gate.py:131-134).
template <class Request, class Routing>
void assign_places(const Request& request, int64_t begin, int64_t end, const Routing& routing) {
  const int64_t K = routing.K, capacity = request.places(end - begin);
  const HostMatrix prob_TE(routing.prob_TE);
  std::vector<int64_t> order(static_cast<size_t>(end - begin));
  std::iota(order.begin(), order.end(), begin);
  if (request.config.batch_prioritized) {
    const auto top = [&](int64_t t) { return *std::max_element(prob_TE.row(t), prob_TE.row(t) + routing.E); };
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

// From choices to everything of the rows but their weights. Cost O(T K + E).
template <class Routing>
void sort_by_expert(Routing& routing) {
  const std::span<const int32_t> expert_TK = routing.choices.expert_TK;
  const std::span<const uint8_t> kept_TK = routing.choices.kept_TK;
  auto& rows = routing.rows;
  const int64_t choices = routing.T * routing.K, K = routing.K;
  rows.offsets.assign(static_cast<size_t>(routing.E) + 1, 0);
  for (int64_t i = 0; i < choices; ++i)
    if (kept_TK[i]) ++rows.offsets[static_cast<size_t>(expert_TK[i]) + 1];
  std::partial_sum(rows.offsets.begin(), rows.offsets.end(), rows.offsets.begin());
  std::vector<int64_t> next(rows.offsets.begin(), rows.offsets.end() - 1);
  int32_t kept = 0;
  rows.begin_T[0] = 0;
  for (int64_t i = 0; i < choices; ++i) {
    if (kept_TK[i]) {
      const auto row = static_cast<int32_t>(next[static_cast<size_t>(expert_TK[i])]++);
      rows.token_of_R[row] = static_cast<int32_t>(i / K);
      rows.choice_of_R[row] = static_cast<int32_t>(i % K);
      rows.rows_by_token[kept++] = row;
    }
    if ((i + 1) % K == 0) rows.begin_T[(i + 1) / K] = kept;
  }
}

// What weights are made of: the probabilities p of a token's choices (0 if masked), and the sum that divides them,
// before and after clamping (fairseq: torch.finfo(dtype).eps).
template <class Routing, class real>
struct Gate {
  const Routing& routing;
  int64_t t;
  real sum = 0, divisor = 0;
  bool clamped = false;

  Gate(const MoeConfig& config, const Routing& routing, int64_t t) : routing(routing), t(t) {
    for (int64_t k = 0; k < routing.K; ++k)
      if (config.normalize == Normalize::kBeforeDropping || kept(k)) sum += p(k);
    constexpr real kEpsilon = std::numeric_limits<real>::epsilon();
    clamped = sum < kEpsilon;
    divisor = std::max(sum, kEpsilon);
  }
  int32_t expert(int64_t k) const { return routing.choices.expert_TK[t * routing.K + k]; }
  bool kept(int64_t k) const { return routing.choices.kept_TK[t * routing.K + k]; }
  real p(int64_t k) const {
    return expert(k) < 0 ? real{0} : HostMatrix<const real>(routing.prob_TE)(t, expert(k));
  }
};

template <class Task>
void weigh(const Task& task) {
  using real = typename Task::real;
  auto& routing = task.routing;
  const MoeConfig& config = task.request.config;
  parallel_chunks(routing.T, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Gate<std::decay_t<decltype(routing)>, real> gate(config, routing, t);
      const real divisor = config.normalize == Normalize::kNever ? real{1} : gate.divisor;
      for (const int32_t row : routing.rows.rows_of(t))
        routing.rows.weight_R[row] = gate.p(routing.rows.choice_of_R[row]) / divisor;
    }
  });
}

template <class Task>
void count_choices(const Task& task) {
  const auto& routing = task.routing;
  task.stats.tokens = routing.T;
  task.stats.load_E.assign(static_cast<size_t>(routing.E), 0);
  task.stats.dropped_K.assign(static_cast<size_t>(routing.K), 0);
  for (int64_t i = 0; i < routing.T * routing.K; ++i) {
    if (routing.choices.expert_TK[i] < 0) continue;
    ++task.stats.load_E[static_cast<size_t>(routing.choices.expert_TK[i])];
    task.stats.dropped_K[static_cast<size_t>(i % routing.K)] += !routing.choices.kept_TK[i];
  }
}

template <class Task>
void top_k_route(const Task& task) {
  auto& routing = task.routing;
  const auto& groups = task.request.groups;
  task.stats.entropy_sum = choose_all(task);
  parallel_for(groups.count(routing.T), [&](int64_t g) {
    assign_places(task.request, groups.begin(g), groups.end(g, routing.T), routing);
  });
  sort_by_expert(routing);
  weigh(task);
  count_choices(task);
}

// Adds to dprob_E the gradient by the probabilities of a token's choices. With w_k = p_k / s, s the sum over the
// choices that count: dp_k = (dw_k - sum_j dw_j w_j) / s, where the sum is the part through s (none if s is clamped).
template <class Task>
void add_weight_gradient(const Task& task, int64_t t, typename Task::real* dprob_E) {
  using real = typename Task::real;
  const auto& routing = task.routing;
  const MoeConfig& config = task.request.config;
  const Gate<std::decay_t<decltype(routing)>, real> gate(config, routing, t);
  const std::span<const int32_t> rows = routing.rows.rows_of(t);
  real projection = 0;
  for (const int32_t row : rows)
    projection += task.dweight_R[row] * (gate.p(routing.rows.choice_of_R[row]) / gate.divisor);
  size_t next = 0;
  for (int64_t k = 0; k < routing.K; ++k) {
    if (gate.expert(k) < 0) continue;
    const real dw = gate.kept(k) ? task.dweight_R[rows[next++]] : real{0};
    real dp = 0;
    if (config.normalize == Normalize::kNever)
      dp = dw;
    else if (config.normalize == Normalize::kBeforeDropping || gate.kept(k))
      dp = (dw - (gate.clamped ? real{0} : projection)) / gate.divisor;
    dprob_E[gate.expert(k)] += dp;
  }
}

template <class Task>
void top_k_route_backward(const Task& task) {
  using real = typename Task::real;
  const int64_t E = task.routing.E;
  const HostMatrix<const real> prob_TE = task.routing.prob_TE, dprob_GE = task.dprob_GE;
  const HostMatrix<real> dlogits_TE = task.dlogits_TE;
  parallel_chunks(task.routing.T, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      real* const dprob = dlogits_TE.row(t);
      std::copy_n(dprob_GE.row(t / task.request.groups.size), E, dprob);
      add_weight_gradient(task, t, dprob);
      const real* const prob = prob_TE.row(t);
      real dot = 0;
      for (int64_t e = 0; e < E; ++e) dot += prob[e] * dprob[e];
      for (int64_t e = 0; e < E; ++e) dprob[e] = prob[e] * (dprob[e] - dot);
    }
  });
}

template <class Routing>
std::vector<int64_t> first_choices(const Routing& routing, int64_t begin, int64_t end) {
  std::vector<int64_t> count_E(static_cast<size_t>(routing.E), 0);
  for (int64_t t = begin; t < end; ++t)
    if (const int32_t first = routing.choices.expert_TK[t * routing.K]; first >= 0)
      ++count_E[static_cast<size_t>(first)];
  return count_E;
}

template <class Task>
void balance_loss(const Task& task) {
  const HostMatrix<const typename Task::real> prob_TE = task.routing.prob_TE;
  parallel_for(task.request.groups.count(task.routing.T), [&](int64_t g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    const auto S = static_cast<double>(end - begin), E = static_cast<double>(prob_TE.cols);
    const std::vector<int64_t> first_E = first_choices(task.routing, begin, end);
    std::vector<double> mean_E(first_E.size(), 0.0);
    for (int64_t t = begin; t < end; ++t)
      for (size_t e = 0; e < mean_E.size(); ++e) mean_E[e] += static_cast<double>(prob_TE.row(t)[e]);
    double sum = 0.0;
    for (size_t e = 0; e < mean_E.size(); ++e) sum += mean_E[e] / S * (static_cast<double>(first_E[e]) / S);
    task.loss_G[static_cast<size_t>(g)] = E * sum;
  });
}

template <class Task>
void balance_loss_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> dprob_GE = task.dprob_GE;
  parallel_for(dprob_GE.rows, [&](int64_t g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    const auto S = static_cast<double>(end - begin), E = static_cast<double>(dprob_GE.cols);
    const double scale = task.scale_G[static_cast<size_t>(g)];
    const std::vector<int64_t> first_E = first_choices(task.routing, begin, end);
    for (size_t e = 0; e < first_E.size(); ++e)
      dprob_GE.row(g)[e] += static_cast<real>(scale * E * (static_cast<double>(first_E[e]) / S) / S);
  });
}

template <class Task>
void router_z_loss(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> logits_TE = task.logits_TE;
  parallel_for(task.request.groups.count(task.routing.T), [&](int64_t g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    double squares = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      const real* const z = logits_TE.row(t);
      const real max = *std::max_element(z, z + logits_TE.cols);
      real sum = 0;
      for (int64_t e = 0; e < logits_TE.cols; ++e) sum += std::exp(z[e] - max);
      const real lse = max + std::log(sum);
      task.routing.lse_T[t] = lse;
      squares += static_cast<double>(lse) * static_cast<double>(lse);
    }
    task.loss_G[static_cast<size_t>(g)] = squares / static_cast<double>(end - begin);
  });
}

template <class Task>
void router_z_loss_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> prob_TE = task.routing.prob_TE;
  const HostMatrix<real> dlogits_TE = task.dlogits_TE;
  parallel_chunks(dlogits_TE.rows, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t g = t / task.request.groups.size;
      const auto S = static_cast<double>(task.request.groups.end(g, task.routing.T) - task.request.groups.begin(g));
      const auto factor = static_cast<real>(task.scale_G[static_cast<size_t>(g)] * 2.0 / S) * task.routing.lse_T[t];
      for (int64_t e = 0; e < dlogits_TE.cols; ++e) dlogits_TE(t, e) += factor * prob_TE(t, e);
    }
  });
}

}  // namespace troupe::host
