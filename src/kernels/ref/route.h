// Routing by the policy "top_k" as its equations read (ops/route/top_k.h, ops/route/losses.h), in quadratic time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "base/rng.h"
#include "tensor/matrix.h"
#include "troupe/config.h"

namespace troupe::ref {

struct TopKTask {
  const MoeConfig& config;
  int64_t group_tokens;                 // token t is in group t / group_tokens
  std::span<const int64_t> capacity_G;  // places per expert in a group
  std::span<const uint8_t> token_valid;
  bool training = false;
  uint64_t key = 0;
  int64_t first_token = 0;
};

template <class real>
struct TopKRoute {
  Matrix<real> prob_TE;
  std::vector<real> probabilities;
  std::vector<int32_t> expert_TK, place_TK;  // -1: no choice
  std::vector<uint8_t> kept_TK;
  std::vector<real> weight_TK;  // 0 if it is not kept
  std::vector<double> balance_G;
};

// p_te = exp(z_te - max) / sum_e exp(z_te - max)
template <class real>
void route_probabilities(Matrix<const real> logits_TE, Matrix<real> prob_TE) {
  for (int64_t t = 0; t < logits_TE.rows; ++t) {
    const real* const z = logits_TE.row(t);
    real max = z[0], sum = 0;
    for (int64_t e = 0; e < logits_TE.cols; ++e) max = std::max(max, z[e]);
    for (int64_t e = 0; e < logits_TE.cols; ++e) sum += prob_TE(t, e) = std::exp(z[e] - max);
    for (int64_t e = 0; e < logits_TE.cols; ++e) prob_TE(t, e) /= sum;
  }
}

// Choice 0 is argmax p, choice k argmax of z + noise over experts not chosen yet; the lowest index wins ties. Noise,
// -log(-log u), belongs to the sampling policy; the random policy takes a second choice if 2 p > u. Both in training.
template <class real>
void route_choices(const TopKTask& task, Matrix<const real> logits_TE, Matrix<const real> prob_TE,
                   std::vector<int32_t>& expert_TK) {
  const int64_t E = logits_TE.cols, K = task.config.top_k;
  const auto uniform = [&](int64_t element) {
    return (static_cast<double>(philox(task.key, static_cast<uint64_t>(element))[0]) + 0.5) / 4294967296.0;
  };
  const bool random = task.training && K == 2;
  for (int64_t t = 0; t < logits_TE.rows; ++t) {
    std::vector<uint8_t> chosen_E(static_cast<size_t>(E), 0);
    for (int64_t k = 0; k < K; ++k) {
      const auto value = [&](int64_t e) {
        if (k == 0) return prob_TE(t, e);
        if (!random || task.config.second_choice != SecondChoice::kSampling) return logits_TE(t, e);
        return logits_TE(t, e) - static_cast<real>(std::log(-std::log(uniform((task.first_token + t) * E + e))));
      };
      int64_t best = -1;
      for (int64_t e = 0; e < E; ++e)
        if (!chosen_E[e] && (best < 0 || value(e) > value(best))) best = e;
      chosen_E[best] = 1;
      expert_TK[t * K + k] = static_cast<int32_t>(best);
    }
    if (random && task.config.second_choice == SecondChoice::kRandom &&
        !(2.0 * static_cast<double>(prob_TE(t, expert_TK[t * K + 1])) > uniform(task.first_token + t)))
      expert_TK[t * K + 1] = -1;
    if (task.config.pad_mask && !task.token_valid.empty() && !task.token_valid[t])
      std::fill_n(&expert_TK[t * K], K, -1);
  }
}

// place(t, k) = how many choices of the group's for the same expert come before it: those of a lower k, and those of
// the same k whose token comes first, by position or (batch_prioritized) by max_e p, then position.
template <class real>
void route_places(const TopKTask& task, Matrix<const real> prob_TE, TopKRoute<real>& route) {
  const int64_t T = prob_TE.rows, K = task.config.top_k;
  std::vector<real> top_T;
  for (int64_t t = 0; t < T; ++t) top_T.push_back(*std::max_element(prob_TE.row(t), prob_TE.row(t) + prob_TE.cols));
  const auto is_before = [&](int64_t s, int64_t t) {
    if (task.config.batch_prioritized && top_T[s] != top_T[t]) return top_T[s] > top_T[t];
    return s < t;
  };
  for (int64_t i = 0; i < T * K; ++i) {
    if (route.expert_TK[i] < 0) continue;
    const int64_t t = i / K, g = t / task.group_tokens, end = std::min(T, (g + 1) * task.group_tokens);
    route.place_TK[i] = 0;
    for (int64_t j = g * task.group_tokens * K; j < end * K; ++j)
      if (route.expert_TK[j] == route.expert_TK[i] && (j % K < i % K || (j % K == i % K && is_before(j / K, t))))
        ++route.place_TK[i];
    route.kept_TK[i] = route.place_TK[i] < task.capacity_G[g];
  }
}

// Whether a choice is part of the sum that divides the weights, and that sum for a token, at least epsilon.
inline bool counts_in_divisor(const MoeConfig& config, int32_t expert, bool kept) {
  return expert >= 0 &&
         (config.normalize == Normalize::kBeforeDropping || (config.normalize == Normalize::kAfterDropping && kept));
}
template <class real>
real route_divisor(const MoeConfig& config, const TopKRoute<real>& route, int64_t t, bool& clamped) {
  clamped = false;
  if (config.normalize == Normalize::kNever) return 1;
  real sum = 0;
  for (int64_t i = t * config.top_k; i < (t + 1) * config.top_k; ++i)
    if (counts_in_divisor(config, route.expert_TK[i], route.kept_TK[i])) sum += route.prob_TE(t, route.expert_TK[i]);
  clamped = sum < std::numeric_limits<real>::epsilon();
  return clamped ? std::numeric_limits<real>::epsilon() : sum;
}

// E * sum_e (mean of p_te over the group's S tokens) * (those whose first choice is e) / S
template <class real>
double balance_loss(Matrix<const real> prob_TE, std::span<const int32_t> expert_TK, int64_t K, int64_t begin,
                    int64_t end) {
  const auto S = static_cast<double>(end - begin);
  double loss = 0.0;
  for (int64_t e = 0; e < prob_TE.cols; ++e) {
    double mean = 0.0, share = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      mean += static_cast<double>(prob_TE(t, e)) / S;
      share += (expert_TK[t * K] == e) / S;
    }
    loss += static_cast<double>(prob_TE.cols) * mean * share;
  }
  return loss;
}

template <class real>
TopKRoute<real> top_k_route(const TopKTask& task, Matrix<const real> logits_TE) {
  const int64_t T = logits_TE.rows, E = logits_TE.cols, K = task.config.top_k;
  TopKRoute<real> route;
  route.probabilities.resize(static_cast<size_t>(T * E));
  route.prob_TE = {route.probabilities.data(), T, E};
  route.expert_TK.assign(static_cast<size_t>(T * K), -1), route.place_TK = route.expert_TK;
  route.kept_TK.assign(route.expert_TK.size(), 0), route.weight_TK.assign(route.expert_TK.size(), 0);
  route_probabilities<real>(logits_TE, route.prob_TE);
  route_choices<real>(task, logits_TE, route.prob_TE, route.expert_TK);
  route_places<real>(task, route.prob_TE, route);
  for (int64_t i = 0; i < T * K; ++i) {
    bool clamped;
    const real divisor = route_divisor(task.config, route, i / K, clamped);
    if (route.kept_TK[i]) route.weight_TK[i] = route.prob_TE(i / K, route.expert_TK[i]) / divisor;
  }
  for (int64_t begin = 0; begin < T; begin += task.group_tokens)
    route.balance_G.push_back(balance_loss<real>(route.prob_TE, route.expert_TK, K, begin,
                                                 std::min(T, begin + task.group_tokens)));
  return route;
}

// dL/dz by the chain rule. With s the divisor of token t, w_k = p_k / s where choice k is kept:
//   dw_k/dp_j = [k is kept] ([j = k] - [j counts in s, s not clamped] w_k) / s
//   d(balance)/dp_te = E share_e / S        dp_e/dz_f = p_e ([e = f] - p_f)
template <class real>
void top_k_route_backward(const TopKTask& task, const TopKRoute<real>& route, std::span<const real> dweight_TK,
                          std::span<const double> balance_scale_G, Matrix<real> dlogits_TE) {
  const int64_t T = route.prob_TE.rows, E = route.prob_TE.cols, K = task.config.top_k;
  for (int64_t t = 0; t < T; ++t) {
    std::vector<double> dp_E(static_cast<size_t>(E), 0.0);
    const int64_t g = t / task.group_tokens, begin = g * task.group_tokens, end = std::min(T, begin + task.group_tokens);
    const auto S = static_cast<double>(end - begin);
    for (int64_t s = begin; s < end; ++s)
      if (route.expert_TK[s * K] >= 0)
        dp_E[route.expert_TK[s * K]] += balance_scale_G[g] * static_cast<double>(E) / S / S;
    bool clamped;
    const double divisor = route_divisor(task.config, route, t, clamped);
    for (int64_t k = t * K; k < (t + 1) * K; ++k)
      for (int64_t j = t * K; j < (t + 1) * K; ++j) {
        if (!route.kept_TK[k] || route.expert_TK[j] < 0) continue;
        const bool through_divisor =
            !clamped && counts_in_divisor(task.config, route.expert_TK[j], route.kept_TK[j]);
        const double w = route.prob_TE(t, route.expert_TK[k]) / divisor;
        dp_E[route.expert_TK[j]] += dweight_TK[k] * ((j == k) - (through_divisor ? w : 0.0)) / divisor;
      }
    for (int64_t f = 0; f < E; ++f) {
      double dz = 0.0;
      for (int64_t e = 0; e < E; ++e) dz += dp_E[e] * route.prob_TE(t, e) * ((e == f) - double{route.prob_TE(t, f)});
      dlogits_TE(t, f) = static_cast<real>(dz);
    }
  }
}

}  // namespace troupe::ref
