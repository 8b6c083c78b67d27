#include "ops/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

TEST(OutputLossGradient, MatchesCentralDifferences) {
  constexpr int64_t T = 6, V = 9, D = 4;
  auto embed = test::normal_values(V * D, 1), h = test::normal_values(T * D, 2);
  const std::vector<int32_t> targets = {3, -1, 0, 8, 3, -5};
  std::vector<double> nll(T), dh(T * D, 9.0), dembed(V * D, 0.0);
  LinearBank<F64> bank(1, V, D, embed.data(), nullptr);
  const auto loss = [&] {
    bank.weights_changed();
    run(OutputLoss<F64>{bank, {h.data(), T, D}, targets, nll});
    double sum = 0.0;
    for (const double value : nll) sum += value;
    return sum;
  };
  const double value = loss();
  run(OutputLossWithGradient<F64>{bank, {h.data(), T, D}, targets, nll, {dh.data(), T, D}, dembed.data()});
  double sum = 0.0;
  for (const double term : nll) sum += term;
  EXPECT_DOUBLE_EQ(sum, value);
  EXPECT_EQ(nll[1], 0.0);
  EXPECT_EQ(nll[5], 0.0);
  test::expect_gradient(loss, h, dh);
  test::expect_gradient(loss, embed, dembed);
}

TEST(OutputLossGradient, OfCappedLogitsAndTheirSumMatchesCentralDifferences) {
  constexpr int64_t T = 5, V = 9, D = 4;
  for (const auto& [cap, z_loss] : {std::pair{1.5, 0.0}, {0.0, 0.3}, {1.5, 0.3}}) {
    auto embed = test::normal_values(V * D, 1), h = test::normal_values(T * D, 2);
    const std::vector<int32_t> targets = {3, -1, 0, 8, 3};
    std::vector<double> nll(T), plain(T), dh(T * D, 9.0), dembed(V * D, 0.0);
    LinearBank<F64> bank(1, V, D, embed.data(), nullptr);
    double squared_lse = 0.0;
    // By hand: nll, and z_loss times the squared logarithms of the sums.
    const auto loss = [&, cap = cap, z_loss = z_loss] {
      double sum = 0.0;
      for (int64_t t = 0; t < T; ++t) {
        if (targets[t] < 0) continue;
        double exps = 0.0, of_target = 0.0;
        for (int64_t v = 0; v < V; ++v) {
          double logit = 0.0;
          for (int64_t d = 0; d < D; ++d) logit += h[t * D + d] * embed[v * D + d];
          if (cap > 0.0) logit = cap * std::tanh(logit / cap);
          exps += std::exp(logit);
          if (v == targets[t]) of_target = logit;
        }
        sum += std::log(exps) - of_target + z_loss * std::log(exps) * std::log(exps);
      }
      return sum;
    };
    run(OutputLoss<F64>{.embed = bank, .h_TD = {h.data(), T, D}, .targets_T = targets, .nll_T = plain, .cap = cap});
    run(OutputLossWithGradient<F64>{.embed = bank,
                                    .h_TD = {h.data(), T, D},
                                    .targets_T = targets,
                                    .nll_T = nll,
                                    .dh_TD = {dh.data(), T, D},
                                    .dembed_VD = dembed.data(),
                                    .cap = cap,
                                    .z_loss = z_loss,
                                    .squared_lse = &squared_lse});
    EXPECT_EQ(nll, plain);
    EXPECT_NEAR(std::accumulate(nll.begin(), nll.end(), z_loss * squared_lse), loss(), 1e-12);
    test::expect_gradient(loss, h, dh);
    test::expect_gradient(loss, embed, dembed);
  }
}

TEST(OutputLossGradient, WithATeacherMatchesCentralDifferences) {
  constexpr int64_t T = 5, V = 9, D = 4, D_of_teacher = 3;
  struct Case {
    double alpha, temperature, cap, z_loss;
  };
  for (const Case& given : {Case{0.5, 1.0, 0.0, 0.0}, {1.0, 2.0, 0.0, 0.0}, {0.3, 0.7, 1.5, 0.2}}) {
    auto embed = test::normal_values(V * D, 1), h = test::normal_values(T * D, 2);
    auto taught_embed = test::normal_values(V * D_of_teacher, 3), taught_h = test::normal_values(T * D_of_teacher, 4);
    const std::vector<int32_t> targets = {3, -1, 0, 8, 3};
    std::vector<double> nll(T), dh(T * D, 9.0), dembed(V * D, 0.0);
    LinearBank<F64> bank(1, V, D, embed.data(), nullptr), taught_bank(1, V, D_of_teacher, taught_embed.data(), nullptr);
    double squared_lse = 0.0, divergence = 0.0;
    // By hand: of softmax(logits / temperature), and of the teacher's, which is halved and capped.
    const auto logits_of = [](const std::vector<double>& h, const std::vector<double>& embed, int64_t t, double divisor,
                              double cap) {
      const auto D = static_cast<int64_t>(h.size()) / T;
      std::vector<double> logits(V, 0.0);
      for (int64_t v = 0; v < V; ++v) {
        for (int64_t d = 0; d < D; ++d) logits[v] += h[t * D + d] * embed[v * D + d] / divisor;
        if (cap > 0.0) logits[v] = cap * std::tanh(logits[v] / cap);
      }
      return logits;
    };
    const auto log_softmax = [](std::vector<double> logits, double temperature) {
      double sum = 0.0;
      for (const double logit : logits) sum += std::exp(logit / temperature);
      for (double& logit : logits) logit = logit / temperature - std::log(sum);
      return logits;
    };
    double by_hand = 0.0;  // the divergence
    const auto loss = [&] {
      double sum = 0.0;
      by_hand = 0.0;
      for (int64_t t = 0; t < T; ++t) {
        if (targets[t] < 0) continue;
        const auto logits = logits_of(h, embed, t, 1.0, given.cap), taught = logits_of(taught_h, taught_embed, t, 2.0, 1.2);
        const auto p = log_softmax(logits, given.temperature), q = log_softmax(taught, given.temperature);
        for (int64_t v = 0; v < V; ++v)
          by_hand += given.temperature * given.temperature * std::exp(q[v]) * (q[v] - p[v]);
        const double of_target = log_softmax(logits, 1.0)[targets[t]], lse = logits[targets[t]] - of_target;
        sum += -(1.0 - given.alpha) * of_target + given.z_loss * lse * lse;
      }
      return sum + given.alpha * by_hand;
    };
    run(OutputLossWithGradient<F64>{.embed = bank,
                                    .h_TD = {h.data(), T, D},
                                    .targets_T = targets,
                                    .nll_T = nll,
                                    .dh_TD = {dh.data(), T, D},
                                    .dembed_VD = dembed.data(),
                                    .cap = given.cap,
                                    .z_loss = given.z_loss,
                                    .squared_lse = &squared_lse,
                                    .teacher = {.embed = &taught_bank,
                                                .h_TD = {taught_h.data(), T, D_of_teacher},
                                                .divisor = 2.0,
                                                .cap = 1.2,
                                                .alpha = given.alpha,
                                                .temperature = given.temperature,
                                                .divergence = &divergence}});
    const double value = loss();
    EXPECT_NEAR(divergence, by_hand, 1e-12);
    EXPECT_NEAR(std::accumulate(nll.begin(), nll.end(), 0.0) * (1.0 - given.alpha) + given.z_loss * squared_lse +
                    given.alpha * divergence,
                value, 1e-12);
    test::expect_gradient(loss, h, dh);
    test::expect_gradient(loss, embed, dembed);
  }
}

TEST(OutputLossGradient, AddsToTheEmbedding) {
  constexpr int64_t T = 2, V = 3, D = 2;
  const auto embed = test::normal_values(V * D, 1), h = test::normal_values(T * D, 2);
  const std::vector<int32_t> targets = {2, 0};
  std::vector<double> nll(T), dh(T * D), once(V * D, 0.0), twice(V * D, 0.0);
  const LinearBank<F64> bank(1, V, D, embed.data(), nullptr);
  run(OutputLossWithGradient<F64>{bank, {h.data(), T, D}, targets, nll, {dh.data(), T, D}, once.data()});
  for (int repeat = 0; repeat < 2; ++repeat)
    run(OutputLossWithGradient<F64>{bank, {h.data(), T, D}, targets, nll, {dh.data(), T, D}, twice.data()});
  for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(twice[i], 2.0 * once[i], 1e-15);
}

}  // namespace
}  // namespace troupe
