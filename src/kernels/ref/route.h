// Routing by every policy as its equations read, in quadratic time; tasks are those of ops/route.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "tensor/host_matrix.h"
#include "troupe/config.h"

namespace troupe::ref {

// q_te: the share of p_te in its token's sum, for sigmoids; p_te itself otherwise.
template <class Request, class Routing>
double share_of_score(const Request& request, const Routing& routing, int64_t t, int64_t e) {
  const HostMatrix prob_TE(routing.prob_TE);
  if (request.config.score == RouterScore::kSoftmax) return prob_TE(t, e);
  double sum = 0.0;
  for (int64_t f = 0; f < routing.E; ++f) sum += prob_TE(t, f);
  return prob_TE(t, e) / sum;
}

// p_te = exp(z_te - max) / sum_e exp(z_te - max), or 1 / (1 + exp(-z_te)).
template <class Task>
void route_probabilities(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> logits_TE = task.logits_TE;
  const HostMatrix<real> prob_TE = task.routing.prob_TE;
  for (int64_t t = 0; t < logits_TE.rows; ++t) {
    const real* const z = logits_TE.row(t);
    real max = z[0], sum = 0;
    for (int64_t e = 0; e < logits_TE.cols; ++e) max = std::max(max, z[e]);
    for (int64_t e = 0; e < logits_TE.cols; ++e) sum += prob_TE(t, e) = std::exp(z[e] - max);
    for (int64_t e = 0; e < logits_TE.cols; ++e) prob_TE(t, e) /= sum;
    if (task.request.config.score == RouterScore::kSigmoid)
      for (int64_t e = 0; e < logits_TE.cols; ++e) prob_TE(t, e) = real{1} / (real{1} + std::exp(-z[e]));
  }
}

// Sum over tokens of -sum_e q_te log q_te.
template <class Task>
double route_entropy(const Task& task) {
  double entropy = 0.0;
  for (int64_t t = 0; t < task.routing.T; ++t)
    for (int64_t e = 0; e < task.routing.E; ++e)
      if (const double q = share_of_score(task.request, task.routing, t, e); q > 0) entropy -= q * std::log(q);
  return entropy;
}

// Whether expert e is in one of the groups_kept groups with the largest sums of their two best values; ties go to the
// first.
template <class Value>
bool in_kept_group(const MoeConfig& config, int64_t e, const Value& value) {
  using real = decltype(value(0));
  const int64_t size = config.num_experts / config.groups;
  const auto of_group = [&](int64_t g) {
    std::vector<real> values;
    for (int64_t i = g * size; i < (g + 1) * size; ++i) values.push_back(value(i));
    std::sort(values.rbegin(), values.rend());
    return size > 1 ? values[0] + values[1] : values[0];
  };
  const real own = of_group(e / size);
  int64_t before = 0;
  for (int64_t g = 0; g < config.groups; ++g) before += of_group(g) > own || (of_group(g) == own && g < e / size);
  return before < config.groups_kept;
}

// Choice 0 is argmax p, choice k argmax of z + noise over experts not chosen yet; the lowest index wins ties. Noise,
// -log(-log u), belongs to the sampling policy; the random policy takes a second choice if 2 p > u. With biases, groups
// or sigmoids every choice is argmax of p + b, in the kept groups.
template <class Task>
void route_choices(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> logits_TE = task.logits_TE, prob_TE = task.routing.prob_TE;
  const auto& request = task.request;
  const auto& expert_TK = task.routing.choices.expert_TK;
  const int64_t E = task.routing.E, K = task.routing.K;
  const auto uniform = [&](int64_t element) {
    return (static_cast<double>(philox(request.key, static_cast<uint64_t>(element))[0]) + 0.5) / 4294967296.0;
  };
  const bool scored = chosen_by_score(request.config);
  for (int64_t t = 0; t < logits_TE.rows; ++t) {
    std::vector<uint8_t> chosen_E(static_cast<size_t>(E), 0);
    const auto score = [&](int64_t e) { return prob_TE(t, e) + (task.bias_E.empty() ? real{0} : task.bias_E[e]); };
    for (int64_t e = 0; scored && e < E; ++e) chosen_E[e] = !in_kept_group(request.config, e, score);
    for (int64_t k = 0; k < K; ++k) {
      const auto value = [&](int64_t e) {
        if (scored) return score(e);
        if (k == 0) return prob_TE(t, e);
        if (!request.chance() || request.config.second_choice != SecondChoice::kSampling) return logits_TE(t, e);
        return logits_TE(t, e) - static_cast<real>(std::log(-std::log(uniform((request.first_token + t) * E + e))));
      };
      int64_t best = -1;
      for (int64_t e = 0; e < E; ++e)
        if (!chosen_E[e] && (best < 0 || value(e) > value(best))) best = e;
      chosen_E[best] = 1;
      expert_TK[t * K + k] = static_cast<int32_t>(best);
    }
    if (request.chance() && request.config.second_choice == SecondChoice::kRandom &&
        !(2.0 * static_cast<double>(prob_TE(t, expert_TK[t * K + 1])) > uniform(request.first_token + t)))
      expert_TK[t * K + 1] = -1;
  }
}

// hash: choice k is the n-th of the experts not chosen yet, n = floor(u (E - k)), u in [0, 1) by (layer, id, k).
template <class Task>
void route_hashes(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> prob_TE = task.routing.prob_TE;
  const int64_t E = task.routing.E, K = task.routing.K;
  for (int64_t t = 0; t < task.routing.T; ++t) {
    std::vector<int32_t> left;
    for (int64_t e = 0; e < E; ++e) left.push_back(static_cast<int32_t>(e)), prob_TE(t, e) = 0;
    for (int64_t k = 0; k < K; ++k) {
      const auto counter = static_cast<uint64_t>(task.request.ids_T[t] * kMaxTopK + k);
      const double u = philox(task.request.hash_key, counter)[0] / 4294967296.0;
      const auto n = static_cast<int64_t>(u * static_cast<double>(E - k));
      task.routing.choices.expert_TK[t * K + k] = left[n];
      prob_TE(t, left[n]) = static_cast<real>(1.0 / static_cast<double>(K));
      left.erase(left.begin() + n);
    }
  }
}

template <class Task>
void mask_pads(const Task& task) {
  const auto& valid = task.request.groups.token_valid;
  const int64_t K = task.routing.K;
  for (int64_t t = 0; task.request.config.pad_mask && t < static_cast<int64_t>(valid.size()); ++t)
    if (!valid[t]) std::fill_n(&task.routing.choices.expert_TK[t * K], K, -1);
}

// expert_choice: token t is expert e's if fewer than ceil(K S / E) tokens of its group come before it by p_te, then by
// position.
template <class Task>
void let_experts_choose(const Task& task) {
  const HostMatrix prob_TE(task.routing.prob_TE);
  const auto& [expert_TK, place_TK, kept_TK] = task.routing.choices;
  const int64_t T = task.routing.T, E = task.routing.E;
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; e < E; ++e) expert_TK[t * E + e] = static_cast<int32_t>(e);
  mask_pads(task);
  for (int64_t i = 0; i < T * E; ++i) {
    const int64_t t = i / E, e = i % E, g = t / task.request.groups.size;
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, T);
    int64_t before = 0;
    for (int64_t s = begin; s < end; ++s)
      before += expert_TK[s * E + e] >= 0 &&
                (prob_TE(s, e) > prob_TE(t, e) || (prob_TE(s, e) == prob_TE(t, e) && s < t));
    kept_TK[i] = expert_TK[i] >= 0 && before < tokens_of_an_expert(task.request.config, end - begin);
    place_TK[i] = kept_TK[i] ? 0 : -1;
  }
}

// place(t, k) = how many choices of the group's for the same expert come before it: those of a lower k, and those of
// the same k whose token comes first, by position or (batch_prioritized) by max_e p, then position.
template <class Task>
void route_places(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> prob_TE = task.routing.prob_TE;
  const auto& [expert_TK, place_TK, kept_TK] = task.routing.choices;
  const int64_t T = task.routing.T, K = task.routing.K;
  std::vector<real> top_T;
  for (int64_t t = 0; t < T; ++t) top_T.push_back(*std::max_element(prob_TE.row(t), prob_TE.row(t) + prob_TE.cols));
  const auto is_before = [&](int64_t s, int64_t t) {
    if (task.request.config.batch_prioritized && top_T[s] != top_T[t]) return top_T[s] > top_T[t];
    return s < t;
  };
  for (int64_t i = 0; i < T * K; ++i) {
    place_TK[i] = -1, kept_TK[i] = 0;
    if (expert_TK[i] < 0) continue;
    const int64_t t = i / K, g = t / task.request.groups.size;
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, T);
    place_TK[i] = 0;
    for (int64_t j = begin * K; j < end * K; ++j)
      if (expert_TK[j] == expert_TK[i] && (j % K < i % K || (j % K == i % K && is_before(j / K, t)))) ++place_TK[i];
    kept_TK[i] = place_TK[i] < task.request.places(end - begin);
  }
}

// Whether a choice is part of the sum that divides the weights, and that sum for a token, at least epsilon.
inline bool counts_in_divisor(const MoeConfig& config, int32_t expert, bool kept) {
  return expert >= 0 &&
         (config.normalize == Normalize::kBeforeDropping || (config.normalize == Normalize::kAfterDropping && kept));
}
template <class real, class Routing>
real route_divisor(const MoeConfig& config, const Routing& routing, int64_t t, bool& clamped) {
  clamped = false;
  if (config.normalize == Normalize::kNever) return 1;
  const HostMatrix<const real> prob_TE = routing.prob_TE;
  const auto& [expert_TK, place_TK, kept_TK] = routing.choices;
  real sum = 0;
  for (int64_t i = t * routing.K; i < (t + 1) * routing.K; ++i)
    if (counts_in_divisor(config, expert_TK[i], kept_TK[i])) sum += prob_TE(t, expert_TK[i]);
  clamped = sum < std::numeric_limits<real>::epsilon();
  return clamped ? std::numeric_limits<real>::epsilon() : sum;
}

// Expert by expert, the kept choices in the order of tokens: w = output_scale p / divisor. Then every token's rows.
template <class Task>
void route_rows(const Task& task) {
  using real = typename Task::real;
  auto& routing = task.routing;
  auto& rows = routing.rows;
  const HostMatrix<const real> prob_TE = routing.prob_TE;
  const int64_t K = routing.K;
  int32_t row = 0, kept = 0;
  rows.offsets.assign(1, 0);
  for (int64_t e = 0; e < routing.E; ++e) {
    for (int64_t i = 0; i < routing.T * K; ++i) {
      if (!routing.choices.kept_TK[i] || routing.choices.expert_TK[i] != e) continue;
      bool clamped;
      rows.token_of_R[row] = static_cast<int32_t>(i / K);
      rows.choice_of_R[row] = static_cast<int32_t>(i % K);
      const real divisor = route_divisor<real>(task.request.config, routing, i / K, clamped);
      rows.weight_R[row++] = prob_TE(i / K, e) / divisor * static_cast<real>(task.request.config.output_scale);
    }
    rows.offsets.push_back(row);
  }
  for (int64_t t = 0; t < routing.T; ++t) {
    rows.begin_T[t] = kept;
    for (int64_t k = 0; k < K; ++k)
      for (int32_t r = 0; r < row; ++r)
        if (rows.token_of_R[r] == t && rows.choice_of_R[r] == k) rows.rows_by_token[kept++] = r;
  }
  rows.begin_T[routing.T] = kept;
}

template <class Task>
void route(const Task& task) {
  const auto& routing = task.routing;
  const RouterKind router = task.request.config.router;
  const bool experts_choose = router == RouterKind::kExpertChoice;
  if (router != RouterKind::kHash) route_probabilities(task);
  if (experts_choose) {
    let_experts_choose(task);
  } else {
    router == RouterKind::kHash ? route_hashes(task) : route_choices(task);
    mask_pads(task);
    route_places(task);
  }
  route_rows(task);
  task.stats.tokens = routing.T;
  task.stats.entropy_sum = route_entropy(task);
  task.stats.load_E.assign(static_cast<size_t>(routing.E), 0);
  task.stats.dropped_K.assign(static_cast<size_t>(experts_choose ? 1 : routing.K), 0);
  for (int64_t i = 0; i < routing.T * routing.K; ++i)
    if (const int32_t e = routing.choices.expert_TK[i]; e >= 0) {
      task.stats.load_E[e] += !experts_choose || routing.choices.kept_TK[i];
      if (!experts_choose) task.stats.dropped_K[i % routing.K] += !routing.choices.kept_TK[i];
    }
  for (int64_t t = 0; experts_choose && t < routing.T; ++t)  // tokens that no expert chose
    task.stats.dropped_K[0] += routing.rows.rows_of(t).empty();
}

// dL/dz by the chain rule, from dw and what losses say of p. With s the divisor of token t, w_k = p_k / s where choice
// k is kept, times output_scale:
//   dw_k/dp_j = [k is kept] ([j = k] - [j counts in s, s not clamped] w_k) / s        dp_e/dz_f = p_e ([e = f] - p_f)
// Sigmoids: dp_e/dz_f = [e = f] p_e (1 - p_e), and losses say it of q_e = p_e / sum p:  dq_e/dp_f = ([e = f] - q_e) / sum p
template <class Task>
void route_backward(const Task& task) {
  using real = typename Task::real;
  const auto& routing = task.routing;
  const HostMatrix<const real> prob_TE = routing.prob_TE, dprob_GE = task.dprob_GE;
  const HostMatrix<real> dlogits_TE = task.dlogits_TE;
  const auto& [expert_TK, place_TK, kept_TK] = routing.choices;
  const MoeConfig& config = task.request.config;
  const bool sigmoid = config.score == RouterScore::kSigmoid;
  const int64_t T = routing.T, E = routing.E, K = routing.K;
  for (int64_t t = 0; t < T; ++t) {
    std::vector<double> dp_E(static_cast<size_t>(E), 0.0), dw_K(static_cast<size_t>(K), 0.0);
    double sum = 0.0;
    for (int64_t e = 0; e < E; ++e) sum += prob_TE(t, e);
    for (int64_t e = 0; e < E; ++e) {
      const double dq = dprob_GE(t / task.request.groups.size, e), q = prob_TE(t, e) / sum;
      for (int64_t f = 0; f < E; ++f) dp_E[f] += sigmoid ? dq * ((e == f) - q) / sum : (e == f) * dq;
    }
    for (int64_t r = 0; r < routing.rows.num_rows(); ++r)
      if (routing.rows.token_of_R[r] == t) dw_K[routing.rows.choice_of_R[r]] = config.output_scale * task.dweight_R[r];
    bool clamped;
    const double divisor = route_divisor<real>(config, routing, t, clamped);
    for (int64_t k = 0; k < K; ++k)
      for (int64_t j = 0; j < K; ++j) {
        const int32_t from = expert_TK[t * K + k], to = expert_TK[t * K + j];
        if (!kept_TK[t * K + k] || to < 0) continue;
        const bool through_divisor = !clamped && counts_in_divisor(config, to, kept_TK[t * K + j]);
        const double w = prob_TE(t, from) / divisor;
        dp_E[to] += dw_K[k] * ((j == k) - (through_divisor ? w : 0.0)) / divisor;
      }
    for (int64_t f = 0; f < E; ++f) {
      double dz = 0.0;
      for (int64_t e = 0; e < E; ++e)
        dz += dp_E[e] * prob_TE(t, e) * (sigmoid ? (e == f) * (1 - double{prob_TE(t, f)}) : (e == f) - double{prob_TE(t, f)});
      dlogits_TE(t, f) = static_cast<real>(dz);
    }
  }
}

}  // namespace troupe::ref
