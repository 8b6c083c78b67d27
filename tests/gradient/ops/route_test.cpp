// The gradient of routing's weights and losses by the router's logits. Choices and places have none, so logits stand
// where a small move changes no choice, or (ties) only the rank of one that is chosen anyway.
#include "ops/route/route.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "gradient.h"
#include "route_case.h"

namespace troupe {
namespace {

// L = sum over rows of c_te weight + sum over losses and groups of scale * loss.
void expect_route_gradient(test::RouteCase<double>& c, double balance_scale = 1.0) {
  const int64_t T = c.tokens(), E = c.config.num_experts;
  const std::vector<double> coefficient_TE = test::normal_values(T * E, 21);
  const auto groups = static_cast<size_t>(c.num_groups());
  std::vector<double> scales;  // [losses, groups]
  for (const double scale : {balance_scale, 0.4})
    for (size_t g = 0; g < groups; ++g) scales.push_back(scale * (1.0 + static_cast<double>(g)));
  const auto coefficients = [&] {
    std::vector<double> of_R(c.routing.rows.num_rows());
    for (int64_t e = 0; e < E; ++e)
      for (int64_t r = c.routing.rows.offsets[e]; r < c.routing.rows.offsets[e + 1]; ++r)
        of_R[r] = coefficient_TE[c.routing.rows.token_of_R[r] * E + e];
    return of_R;
  };
  const auto loss = [&] {
    c.run();
    const std::vector<double> of_R = coefficients();
    double sum = 0.0;
    for (size_t r = 0; r < of_R.size(); ++r) sum += of_R[r] * c.routing.rows.weight_R[r];
    std::vector<double> losses;
    for (const RouterStats::Loss& term : c.stats.losses)
      losses.insert(losses.end(), term.by_group.begin(), term.by_group.end());
    return sum + test::dot(scales, losses);
  };
  loss();
  std::vector<double> dlogits(T * E, 9.0);
  route_backward<double>(c.request(), c.routing, coefficients(), scales, {dlogits.data(), T, E});
  test::expect_gradient(loss, c.logits, dlogits, {.step = 1e-6, .rtol = 2e-6});
}

test::RouteCase<double> spread(int64_t T, int64_t E, int64_t K, Normalize normalize = Normalize::kAfterDropping) {
  test::RouteCase<double> c;
  c.config.num_experts = E, c.config.top_k = K, c.config.normalize = normalize;
  c.logits = test::normal_values(T * E, 31, 2.0);
  return c;
}

constexpr Normalize kNormalizations[] = {Normalize::kAfterDropping, Normalize::kBeforeDropping, Normalize::kNever};

TEST(RouteGradient, Dropless) {
  for (const Normalize normalize : kNormalizations)
    for (const auto& [T, E, K] :
         {std::array<int64_t, 3>{1, 1, 1}, {1, 4, 2}, {9, 5, 1}, {12, 6, 3}, {5, 64, 8}, {2, 512, 8}}) {
      SCOPED_TRACE(fmt::format("T {} E {} K {} {}", T, E, K, name_of_enum(normalize)));
      auto c = spread(T, E, K, normalize);
      expect_route_gradient(c);
    }
}

TEST(RouteGradient, DroppedChoicesAndGroups) {
  for (const Normalize normalize : kNormalizations) {
    auto c = spread(17, 4, 2, normalize);
    c.config.capacity = Capacity::kFairseq, c.group = 5;
    c.capacity = {CapacityRule::kFraction, 0.3};
    expect_route_gradient(c);
    int64_t dropped = 0;
    for (const int64_t count : c.stats.dropped_K) dropped += count;
    EXPECT_GT(dropped, 5);
  }
}

TEST(RouteGradient, PenaltyOnLargeLogits) {
  auto c = spread(17, 4, 2);
  c.config.router_z_loss = 1.0, c.group = 5;
  expect_route_gradient(c);
  c.run();  // at the logits themselves, from which the last central difference went away
  for (int64_t g = 0; g < 4; ++g) {
    const int64_t begin = 5 * g, end = std::min<int64_t>(begin + 5, 17);
    double mean = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      double sum = 0.0;
      for (int64_t e = 0; e < 4; ++e) sum += std::exp(c.logits[t * 4 + e]);
      mean += std::log(sum) * std::log(sum) / static_cast<double>(end - begin);
    }
    EXPECT_NEAR(c.stats.losses.at(1).by_group.at(g), mean, 1e-12) << g;
  }
  c.config.router_z_loss = 0.0;
  c.run();
  EXPECT_EQ(c.stats.loss("z"), 0.0);
}

TEST(RouteGradient, OneExpertTakesAllTokens) {
  auto c = spread(8, 6, 1, Normalize::kNever);
  for (int64_t t = 0; t < 8; ++t) c.logits[t * 6 + 4] += 12.0;
  expect_route_gradient(c);
  EXPECT_EQ(c.stats.unused_experts(), 5);
}

TEST(RouteGradient, TiesOfChosenExperts) {
  test::RouteCase<double> c;
  c.config.num_experts = 4, c.config.top_k = 2;
  c.logits = {1, 1, 0, -1, 0, 3, 3, 0.5};
  expect_route_gradient(c, 0.0);  // who is first may change, which the balance loss would see
}

TEST(RouteGradient, MaskedTokens) {
  auto c = spread(9, 4, 2);
  c.config.pad_mask = true, c.valid = {1, 1, 0, 1, 0, 0, 1, 1, 0};
  expect_route_gradient(c);  // a pad's probabilities are still in the mean of the balance loss
  EXPECT_EQ(c.routing.rows.num_rows(), 10);
}

TEST(RouteGradient, SigmoidsBiasesGroups) {
  for (const Normalize normalize : kNormalizations) {
    auto c = spread(13, 6, 3, normalize);
    c.config.score = RouterScore::kSigmoid, c.config.balance_bias = true, c.config.output_scale = 2.5;
    c.config.groups = 3, c.config.groups_kept = 2, c.config.balance_choices = BalanceChoices::kAll, c.group = 5;
    c.bias = {0.3, -0.2, 0.1, 0.0, -0.1, 0.2};
    expect_route_gradient(c);
    c.config.capacity = Capacity::kFairseq, c.capacity = {CapacityRule::kFraction, 0.5};
    expect_route_gradient(c);
    EXPECT_GT(c.stats.dropped_K[2], 0);
  }
}

TEST(RouteGradient, BalanceOverTheUpdate) {
  auto c = spread(9, 4, 2);
  c.config.balance_choices = BalanceChoices::kAll, c.config.balance_over = BalanceOver::kUpdate;
  c.before = {5, 0, 3, 20}, c.tokens_before = 14;
  expect_route_gradient(c);
}

TEST(RouteGradient, ExpertsChoose) {
  auto c = spread(11, 4, 2, Normalize::kNever);
  c.config.router = RouterKind::kExpertChoice;
  expect_route_gradient(c);
  EXPECT_EQ(c.routing.rows.num_rows(), 24);  // ceil(2 * 11 / 4) of each
}

// The first choice of token 1 is dropped and the probability of its second is below epsilon: the divisor is a constant.
TEST(RouteGradient, ClampedDivisor) {
  test::RouteCase<double> c;
  c.config.num_experts = 3, c.config.top_k = 2;
  c.logits = {9, -9, 5, 40, -0.5, -9};
  c.capacity = {CapacityRule::kFraction, 0.5};
  expect_route_gradient(c);
  EXPECT_EQ(c.routing.rows.num_rows(), 3);
  EXPECT_LT(c.routing.rows.weight_R[c.routing.rows.rows_of(1)[0]], 1.0);
}

}  // namespace
}  // namespace troupe
