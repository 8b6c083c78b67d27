#include "nn/moe/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/threads.h"

namespace troupe {
namespace {

constexpr int64_t kTokenChunk = 256;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

// The first choice is the most probable expert, every later one has the largest logit among the rest; with the
// `sampling` policy the second choice sees logits plus Gumbel noise (top2gate.py:83-94).
template <class real>
void choose(const MoeConfig& config, const RunMode& mode, uint64_t key, uint64_t token, std::span<const real> logits,
            const real* prob, int32_t* expert_K) {
  const auto E = static_cast<int64_t>(logits.size());
  expert_K[0] = static_cast<int32_t>(std::max_element(prob, prob + E) - prob);
  const bool noisy = mode.training && config.top_k == 2 && config.second_choice == SecondChoice::kSampling;
  for (int64_t k = 1; k < config.top_k; ++k) {
    real best = -std::numeric_limits<real>::infinity();
    int32_t best_expert = -1;
    for (int64_t e = 0; e < E; ++e) {
      if (std::find(expert_K, expert_K + k, static_cast<int32_t>(e)) != expert_K + k) continue;
      real value = logits[e];
      if (noisy) value -= static_cast<real>(std::log(-std::log(uniform_at(key, token * E + e))));
      if (best_expert < 0 || value > best) best = value, best_expert = static_cast<int32_t>(e);
    }
    expert_K[k] = best_expert;
  }
  if (mode.training && config.top_k == 2 && config.second_choice == SecondChoice::kRandom &&
      2.0 * static_cast<double>(prob[expert_K[1]]) <= uniform_at(key, token))
    expert_K[1] = -1;
}

// Places count tokens in order, choices of one rank after all choices of the ranks before, those that overflowed
// included: an over-full expert takes no second choices at all (top2gate.py:131-134).
template <class real>
void assign_places(const MoeConfig& config, int64_t capacity, int64_t begin, int64_t end, Routing<real>& routing) {
  const int64_t K = routing.K;
  std::vector<int64_t> order(static_cast<size_t>(end - begin));
  std::iota(order.begin(), order.end(), begin);
  if (config.batch_prioritized) {
    const auto top = [&](int64_t t) {
      return *std::max_element(routing.prob_TE.row(t), routing.prob_TE.row(t) + routing.E);
    };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return top(a) > top(b); });
  }
  std::vector<int64_t> taken(static_cast<size_t>(routing.E), 0);
  for (int64_t k = 0; k < K; ++k)
    for (const int64_t t : order) {
      const int64_t i = t * K + k;
      const int32_t expert = routing.expert_TK[i];
      if (expert < 0) {
        routing.place_TK[i] = -1;
        routing.kept_TK[i] = 0;
        continue;
      }
      const int64_t place = taken[static_cast<size_t>(expert)]++;
      routing.place_TK[i] = static_cast<int32_t>(place);
      routing.kept_TK[i] = place < capacity;
    }
}

template <class real>
constexpr real kEpsilon = std::numeric_limits<real>::epsilon();  // fairseq: torch.finfo(dtype).eps

// p_k of a token's choices (0 if masked), and the sum that divides them before clamping.
template <class real>
struct Gate {
  real p[64];
  real sum = 0;

  Gate(const MoeConfig& config, const Routing<real>& routing, int64_t t) {
    for (int64_t k = 0; k < routing.K; ++k) {
      const int64_t i = t * routing.K + k;
      p[k] = routing.expert_TK[i] < 0 ? real{0} : routing.prob_TE(t, routing.expert_TK[i]);
      const bool counts = config.normalize == Normalize::kBeforeDropping || routing.kept_TK[i];
      if (counts) sum += p[k];
    }
  }
};

template <class real>
void combine_weights(const MoeConfig& config, int64_t t, Routing<real>& routing) {
  const Gate<real> gate(config, routing, t);
  const real divisor = config.normalize == Normalize::kNever ? real{1} : std::max(gate.sum, kEpsilon<real>);
  for (int64_t k = 0; k < routing.K; ++k) {
    const int64_t i = t * routing.K + k;
    routing.weight_TK[i] = routing.kept_TK[i] ? gate.p[k] / divisor : real{0};
  }
}

// me and ce of a group: mean probability, and share of first choices.
template <class real>
double balance_loss(const Routing<real>& routing, int64_t begin, int64_t end) {
  const auto S = static_cast<double>(end - begin);
  std::vector<double> mean(static_cast<size_t>(routing.E), 0.0), share(static_cast<size_t>(routing.E), 0.0);
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t e = 0; e < routing.E; ++e) mean[e] += static_cast<double>(routing.prob_TE(t, e));
    const int32_t first = routing.expert_TK[t * routing.K];
    if (first >= 0) share[first] += 1.0;
  }
  double sum = 0.0;
  for (int64_t e = 0; e < routing.E; ++e) sum += mean[e] / S * (share[e] / S);
  return static_cast<double>(routing.E) * sum;
}

}  // namespace

template <class real>
void Routing<real>::plan(Arena& arena, int64_t num_tokens, const MoeConfig& config) {
  T = num_tokens, E = config.num_experts, K = config.top_k;
  prob_TE = arena.matrix<real>("moe.prob", T, E);
  expert_TK = arena.span<int32_t>("moe.expert", T * K);
  place_TK = arena.span<int32_t>("moe.place", T * K);
  kept_TK = arena.span<uint8_t>("moe.kept", T * K);
  weight_TK = arena.span<real>("moe.weight", T * K);
}

int64_t expert_capacity(const MoeConfig& config, const RunMode& mode, int64_t group_tokens) {
  constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
  const auto by_training_rule = [&] {
    const int64_t even = divide_up(group_tokens, config.num_experts);
    return config.top_k == 1 ? static_cast<int64_t>(config.capacity_factor * static_cast<double>(even))
                             : config.top_k * even;
  };
  const auto by_fraction = [&](double fraction) {
    return fraction <= 0 ? by_training_rule()
                         : static_cast<int64_t>(std::ceil(fraction * static_cast<double>(group_tokens)));
  };
  switch (mode.capacity.kind) {
    case CapacityRule::kDropless:
      return kUnlimited;
    case CapacityRule::kTraining:
      return by_training_rule();
    case CapacityRule::kFraction:
      return by_fraction(mode.capacity.fraction);
    case CapacityRule::kConfigured:
      break;
  }
  if (config.capacity == Capacity::kDropless) return kUnlimited;
  return mode.training ? by_training_rule() : by_fraction(config.eval_capacity_fraction);
}

template <class real>
RouterStats route(const MoeConfig& config, Matrix<const real> logits_TE, const RoutingGroups& groups,
                  const RunMode& mode, int64_t layer, Routing<real>& routing) {
  const int64_t T = routing.T, E = routing.E, K = routing.K;
  const uint64_t key = mode.site_key(layer, RunMode::kSecondChoice);
  std::vector<double> entropy(static_cast<size_t>(divide_up(T, kTokenChunk)), 0.0);
  parallel_chunks(T, kTokenChunk, [&](int64_t begin, int64_t end) {
    double sum = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      const std::span<const real> logits(logits_TE.row(t), static_cast<size_t>(E));
      real* const prob = routing.prob_TE.row(t);
      softmax(logits, prob);
      for (int64_t e = 0; e < E; ++e)
        if (prob[e] > 0) sum -= static_cast<double>(prob[e] * std::log(prob[e]));
      choose(config, mode, key, static_cast<uint64_t>(mode.first_token + t), logits, prob, &routing.expert_TK[t * K]);
      if (config.pad_mask && !groups.token_valid.empty() && !groups.token_valid[t])
        std::fill_n(&routing.expert_TK[t * K], K, -1);
    }
    entropy[static_cast<size_t>(begin / kTokenChunk)] = sum;
  });

  RouterStats stats;
  stats.layer = layer;
  stats.tokens = T;
  stats.load_E.assign(static_cast<size_t>(E), 0);
  stats.dropped_K.assign(static_cast<size_t>(K), 0);
  stats.entropy_sum = std::accumulate(entropy.begin(), entropy.end(), 0.0);
  stats.aux_tokens = T;
  const int64_t num_groups = divide_up(T, groups.size);
  std::vector<double> aux(static_cast<size_t>(num_groups));
  parallel_for(num_groups, [&](int64_t g) {
    const int64_t begin = g * groups.size, end = std::min(T, begin + groups.size);
    assign_places(config, expert_capacity(config, mode, end - begin), begin, end, routing);
    for (int64_t t = begin; t < end; ++t) combine_weights(config, t, routing);
    aux[static_cast<size_t>(g)] = balance_loss(routing, begin, end);
  });
  for (int64_t g = 0; g < num_groups; ++g)
    stats.aux += aux[g] * static_cast<double>(std::min(groups.size, T - g * groups.size)) / static_cast<double>(T);
  stats.aux_by_group = std::move(aux);
  for (int64_t i = 0; i < T * K; ++i) {
    if (routing.expert_TK[i] < 0) continue;
    ++stats.load_E[static_cast<size_t>(routing.expert_TK[i])];
    stats.dropped_K[static_cast<size_t>(i % K)] += !routing.kept_TK[i];
  }
  return stats;
}

template <class real>
void route_backward(const MoeConfig& config, const Routing<real>& routing, const RoutingGroups& groups,
                    std::span<const real> dweight_TK, std::span<const double> aux_scale, Matrix<real> dlogits_TE) {
  const int64_t T = routing.T, E = routing.E, K = routing.K;
  const int64_t num_groups = divide_up(T, groups.size);
  // d(l_aux)/d(prob_te) = E ce_e / S, the same for every token of a group.
  std::vector<real> aux_gradient(static_cast<size_t>(num_groups * E), real{0});
  parallel_for(num_groups, [&](int64_t g) {
    const int64_t begin = g * groups.size, end = std::min(T, begin + groups.size);
    const auto S = static_cast<double>(end - begin);
    std::vector<int64_t> first(static_cast<size_t>(E), 0);
    for (int64_t t = begin; t < end; ++t)
      if (routing.expert_TK[t * K] >= 0) ++first[static_cast<size_t>(routing.expert_TK[t * K])];
    for (int64_t e = 0; e < E; ++e)
      aux_gradient[g * E + e] =
          static_cast<real>(aux_scale[g] * static_cast<double>(E) * (static_cast<double>(first[e]) / S) / S);
  });
  parallel_chunks(T, kTokenChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Gate<real> gate(config, routing, t);
      const real divisor = std::max(gate.sum, kEpsilon<real>);
      const bool clamped = gate.sum < kEpsilon<real>;
      real* const dprob = dlogits_TE.row(t);
      std::copy_n(&aux_gradient[(t / groups.size) * E], E, dprob);
      real projection = 0;  // sum_k dw_k w_k, the part through the divisor
      for (int64_t k = 0; k < K; ++k)
        if (routing.kept_TK[t * K + k]) projection += dweight_TK[t * K + k] * (gate.p[k] / divisor);
      for (int64_t k = 0; k < K; ++k) {
        const int64_t i = t * K + k;
        if (routing.expert_TK[i] < 0) continue;
        const real dw = routing.kept_TK[i] ? dweight_TK[i] : real{0};
        real dp = 0;
        if (config.normalize == Normalize::kNever)
          dp = dw;
        else if (config.normalize == Normalize::kBeforeDropping || routing.kept_TK[i])
          dp = (dw - (clamped ? real{0} : projection)) / divisor;
        dprob[routing.expert_TK[i]] += dp;
      }
      const real* const prob = routing.prob_TE.row(t);
      real dot = 0;
      for (int64_t e = 0; e < E; ++e) dot += prob[e] * dprob[e];
      for (int64_t e = 0; e < E; ++e) dprob[e] = prob[e] * (dprob[e] - dot);
    }
  });
}

template struct Routing<float>;
template struct Routing<double>;
template RouterStats route(const MoeConfig&, Matrix<const float>, const RoutingGroups&, const RunMode&, int64_t,
                           Routing<float>&);
template RouterStats route(const MoeConfig&, Matrix<const double>, const RoutingGroups&, const RunMode&, int64_t,
                           Routing<double>&);
template void route_backward(const MoeConfig&, const Routing<float>&, const RoutingGroups&, std::span<const float>,
                             std::span<const double>, Matrix<float>);
template void route_backward(const MoeConfig&, const Routing<double>&, const RoutingGroups&, std::span<const double>,
                             std::span<const double>, Matrix<double>);

}  // namespace troupe
