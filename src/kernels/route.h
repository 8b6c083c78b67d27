// Routing by every policy on the host, in parallel over tokens and groups; tasks are those of ops/route.
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

template <class real>
void sigmoids(const real* logits, int64_t E, real* prob) {
  for (int64_t e = 0; e < E; ++e) prob[e] = real{1} / (real{1} + std::exp(-logits[e]));
}

inline double uniform_at(uint64_t key, uint64_t element) {
  return (static_cast<double>(philox(key, element)[0]) + 0.5) * 0x1.0p-32;
}

// Choices of one token.
template <class Request, class real>
struct Chooser {
  const Request& request;
  int64_t E;
  std::span<const real> bias_E;
  std::vector<real> value_E = {}, value_of_group = {};  // memory to work in
  std::vector<uint8_t> open_E = {};

  // Appends to expert_K the open expert with the largest value; the lowest index wins ties.
  template <class Value>
  void choose_next(int64_t k, int32_t* expert_K, const Value& value) const {
    real best = -std::numeric_limits<real>::infinity();
    int32_t best_expert = -1;
    for (int64_t e = 0; e < E; ++e) {
      if (std::find(expert_K, expert_K + k, static_cast<int32_t>(e)) != expert_K + k) continue;
      const real of_e = value(e);
      if (best_expert < 0 || of_e > best) best = of_e, best_expert = static_cast<int32_t>(e);
    }
    expert_K[k] = best_expert;
  }

  // With `sampling` the second choice sees logits plus Gumbel noise (top2gate.py:83-94); with `random` it stays with
  // probability 2 p.
  void by_logits(uint64_t token, const real* logits, const real* prob, int32_t* expert_K) const {
    const MoeConfig& config = request.config;
    expert_K[0] = static_cast<int32_t>(std::max_element(prob, prob + E) - prob);
    const bool noisy = request.chance() && config.second_choice == SecondChoice::kSampling;
    for (int64_t k = 1; k < config.top_k; ++k)
      choose_next(k, expert_K, [&](int64_t e) {
        real value = logits[e];
        if (noisy) value -= static_cast<real>(std::log(-std::log(uniform_at(request.key, token * E + e))));
        return value;
      });
    if (request.chance() && config.second_choice == SecondChoice::kRandom &&
        2.0 * static_cast<double>(prob[expert_K[1]]) <= uniform_at(request.key, token))
      expert_K[1] = -1;
  }

  // A group's value is the sum of its two largest; ties go to the first.
  void keep_groups(int64_t groups, int64_t kept) {
    const int64_t size = E / groups;
    value_of_group.resize(static_cast<size_t>(groups));
    for (int64_t g = 0; g < groups; ++g) {
      real first = value_E[g * size], second = size > 1 ? -std::numeric_limits<real>::infinity() : real{0};
      for (int64_t e = g * size + 1; e < (g + 1) * size; ++e) {
        if (value_E[e] > first)
          second = first, first = value_E[e];
        else if (value_E[e] > second)
          second = value_E[e];
      }
      value_of_group[g] = first + second;
    }
    for (int64_t g = 0; g < groups; ++g) {
      int64_t before = 0;
      for (int64_t other = 0; other < groups; ++other)
        before += value_of_group[other] > value_of_group[g] ||
                  (value_of_group[other] == value_of_group[g] && other < g);
      if (before >= kept)
        std::fill_n(&value_E[g * size], size, -std::numeric_limits<real>::infinity());
    }
  }

  void by_score(const real* prob, int32_t* expert_K) {
    const MoeConfig& config = request.config;
    value_E.assign(prob, prob + E);
    for (size_t e = 0; e < bias_E.size(); ++e) value_E[e] += bias_E[e];
    if (config.groups > 1) keep_groups(config.groups, config.groups_kept);
    for (int64_t k = 0; k < config.top_k; ++k) choose_next(k, expert_K, [&](int64_t e) { return value_E[e]; });
  }

  // The k-th draw is the n-th expert, n below E - k, of those not drawn yet; each weighs 1 / K.
  void by_hash(int64_t id, real* prob, int32_t* expert_K) {
    const int64_t K = request.config.top_k;
    open_E.assign(static_cast<size_t>(E), 1);
    std::fill_n(prob, E, real{0});
    for (int64_t k = 0; k < K; ++k) {
      const uint64_t word = philox(request.hash_key, static_cast<uint64_t>(id * kMaxTopK + k))[0];
      int64_t left = static_cast<int64_t>(word * static_cast<uint64_t>(E - k) >> 32), e = 0;
      while (!open_E[e] || left-- > 0) ++e;
      open_E[e] = 0, prob[e] = real{1} / static_cast<real>(K), expert_K[k] = static_cast<int32_t>(e);
    }
  }
};

// The sum of a token's sigmoids; 1 for what is a distribution already.
template <class real>
real sum_of_scores(const MoeConfig& config, const real* prob, int64_t E) {
  return config.score == RouterScore::kSigmoid ? std::accumulate(prob, prob + E, real{0}) : real{1};
}

// Probabilities and choices of every token. Returns the sum of entropies.
template <class Task>
double choose_all(const Task& task) {
  using real = typename Task::real;
  const auto& request = task.request;
  const auto& routing = task.routing;
  const MoeConfig& config = request.config;
  const HostMatrix<const real> logits_TE = task.logits_TE;
  const HostMatrix<real> prob_TE = routing.prob_TE;
  const int64_t T = routing.T, E = routing.E, K = routing.K;
  const std::span<const uint8_t> token_valid = request.groups.token_valid;
  const bool masked = config.pad_mask && !token_valid.empty(), scored = chosen_by_score(config);
  std::vector<double> entropy(static_cast<size_t>((T + kRouteChunk - 1) / kRouteChunk), 0.0);
  parallel_chunks(T, kRouteChunk, [&](int64_t begin, int64_t end) {
    Chooser<std::decay_t<decltype(request)>, real> chooser{request, E, task.bias_E};
    double sum = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      real* const prob = prob_TE.row(t);
      int32_t* const expert_K = &routing.choices.expert_TK[t * K];
      if (config.router == RouterKind::kHash) {
        chooser.by_hash(request.ids_T[t], prob, expert_K);
      } else {
        const real* const logits = logits_TE.row(t);
        config.score == RouterScore::kSigmoid ? sigmoids(logits, E, prob) : softmax(logits, E, prob);
        if (config.router == RouterKind::kExpertChoice)
          std::iota(expert_K, expert_K + K, 0);
        else if (scored)
          chooser.by_score(prob, expert_K);
        else
          chooser.by_logits(static_cast<uint64_t>(request.first_token + t), logits, prob, expert_K);
      }
      const real scores = sum_of_scores(config, prob, E);
      for (int64_t e = 0; e < E; ++e)
        if (const real p = prob[e] / scores; p > 0) sum -= static_cast<double>(p * std::log(p));
      if (masked && !token_valid[t]) std::fill_n(expert_K, K, -1);
    }
    entropy[static_cast<size_t>(begin / kRouteChunk)] = sum;
  });
  return std::accumulate(entropy.begin(), entropy.end(), 0.0);
}

// Every expert keeps those of a group's tokens with the largest probabilities of it; the first token wins ties.
template <class Request, class Routing>
void let_experts_choose(const Request& request, int64_t begin, int64_t end, const Routing& routing) {
  const HostMatrix prob_TE(routing.prob_TE);
  const auto& expert_TK = routing.choices.expert_TK;  // no binding: Clang 14 does not take one into a lambda
  const auto& place_TK = routing.choices.place_TK;
  const auto& kept_TK = routing.choices.kept_TK;
  const int64_t E = routing.E, count = tokens_of_an_expert(request.config, end - begin);
  std::fill(kept_TK.begin() + begin * E, kept_TK.begin() + end * E, uint8_t{0});
  std::fill(place_TK.begin() + begin * E, place_TK.begin() + end * E, -1);
  std::vector<int64_t> valid;
  for (int64_t t = begin; t < end; ++t)
    if (expert_TK[t * E] >= 0) valid.push_back(t);
  const auto ordered = [](auto p) { return p >= 0 ? p : -1; };  // what is not a number is below all
  const auto taken = std::min<int64_t>(count, static_cast<int64_t>(valid.size()));
  parallel_for(E, [&](int64_t e) {
    std::vector<int64_t> order = valid;
    std::nth_element(order.begin(), order.begin() + taken, order.end(), [&](int64_t a, int64_t b) {
      const auto p = ordered(prob_TE(a, e)), q = ordered(prob_TE(b, e));
      return p > q || (p == q && a < b);
    });
    for (int64_t i = 0; i < taken; ++i) kept_TK[order[i] * E + e] = 1, place_TK[order[i] * E + e] = 0;
  });
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
        routing.rows.weight_R[row] =
            gate.p(routing.rows.choice_of_R[row]) / divisor * static_cast<real>(config.output_scale);
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

// Where experts choose, what they chose, and how many tokens nobody did.
template <class Task>
void count_chosen(const Task& task) {
  const auto& rows = task.routing.rows;
  task.stats.tokens = task.routing.T;
  task.stats.load_E.clear();
  for (int64_t e = 0; e < task.routing.E; ++e) task.stats.load_E.push_back(rows.offsets[e + 1] - rows.offsets[e]);
  task.stats.dropped_K.assign(1, 0);
  for (int64_t t = 0; t < task.routing.T; ++t) task.stats.dropped_K[0] += rows.begin_T[t] == rows.begin_T[t + 1];
}

template <class Task>
void route(const Task& task) {
  auto& routing = task.routing;
  const auto& groups = task.request.groups;
  const bool experts_choose = task.request.config.router == RouterKind::kExpertChoice;
  task.stats.entropy_sum = choose_all(task);
  if (experts_choose)
    for (int64_t g = 0; g < groups.count(routing.T); ++g)
      let_experts_choose(task.request, groups.begin(g), groups.end(g, routing.T), routing);
  else
    parallel_for(groups.count(routing.T), [&](int64_t g) {
      assign_places(task.request, groups.begin(g), groups.end(g, routing.T), routing);
    });
  sort_by_expert(routing);
  weigh(task);
  experts_choose ? count_chosen(task) : count_choices(task);
}

// Adds to dprob_E the gradient by the probabilities of a token's choices. With w_k = p_k / s, s the sum over the
// choices that count: dp_k = (dw_k - sum_j dw_j w_j) / s, where the sum is the part through s (none if s is clamped). The
// factor on weights is one on dw.
template <class Task>
void add_weight_gradient(const Task& task, int64_t t, typename Task::real* dprob_E) {
  using real = typename Task::real;
  const auto& routing = task.routing;
  const MoeConfig& config = task.request.config;
  const Gate<std::decay_t<decltype(routing)>, real> gate(config, routing, t);
  const std::span<const int32_t> rows = routing.rows.rows_of(t);
  const auto scale = static_cast<real>(config.output_scale);
  real projection = 0;
  for (const int32_t row : rows)
    projection += scale * task.dweight_R[row] * (gate.p(routing.rows.choice_of_R[row]) / gate.divisor);
  size_t next = 0;
  for (int64_t k = 0; k < routing.K; ++k) {
    if (gate.expert(k) < 0) continue;
    const real dw = gate.kept(k) ? scale * task.dweight_R[rows[next++]] : real{0};
    real dp = 0;
    if (config.normalize == Normalize::kNever)
      dp = dw;
    else if (config.normalize == Normalize::kBeforeDropping || gate.kept(k))
      dp = (dw - (gate.clamped ? real{0} : projection)) / gate.divisor;
    dprob_E[gate.expert(k)] += dp;
  }
}

// From the gradient by q_e = p_e / sum of p to that by p: (dq_e - sum_j dq_j q_j) / sum of p.
template <class real>
void through_shares(const real* prob, int64_t E, real* dprob) {
  const real sum = std::accumulate(prob, prob + E, real{0});
  real dot = 0;
  for (int64_t e = 0; e < E; ++e) dot += dprob[e] * (prob[e] / sum);
  for (int64_t e = 0; e < E; ++e) dprob[e] = (dprob[e] - dot) / sum;
}

template <class Task>
void route_backward(const Task& task) {
  using real = typename Task::real;
  const int64_t E = task.routing.E;
  const bool sigmoid = task.request.config.score == RouterScore::kSigmoid;
  const HostMatrix<const real> prob_TE = task.routing.prob_TE, dprob_GE = task.dprob_GE;
  const HostMatrix<real> dlogits_TE = task.dlogits_TE;
  parallel_chunks(task.routing.T, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      real* const dprob = dlogits_TE.row(t);
      const real* const prob = prob_TE.row(t);
      std::copy_n(dprob_GE.row(t / task.request.groups.size), E, dprob);
      if (sigmoid) through_shares(prob, E, dprob);
      add_weight_gradient(task, t, dprob);
      real dot = 0;
      if (!sigmoid)
        for (int64_t e = 0; e < E; ++e) dot += prob[e] * dprob[e];
      for (int64_t e = 0; e < E; ++e)
        dprob[e] = prob[e] * (sigmoid ? dprob[e] * (real{1} - prob[e]) : dprob[e] - dot);
    }
  });
}

}  // namespace troupe::host
