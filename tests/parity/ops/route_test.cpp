// Routing against its reference: every decision, the rows made of them, weights, losses, and the gradient.
#include "ops/route/route.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gradient.h"
#include "kernels/ref/route.h"
#include "ops/route/losses.h"
#include "parity.h"
#include "route_case.h"

namespace troupe {
namespace {

template <class real>
class RouteParity : public testing::Test {};
using RouteReals = testing::Types<float, double>;
TYPED_TEST_SUITE(RouteParity, RouteReals);

// Logits by kind: 0 spread, 1 with many ties, 2 one expert wants everything, 3 flat.
template <class real>
std::vector<real> logits_of(int kind, int64_t T, int64_t E, uint64_t seed) {
  std::vector<real> values = test::normal_values<real>(T * E, seed, 2.0);
  for (int64_t i = 0; i < T * E; ++i) {
    if (kind == 1) values[i] = std::round(values[i]);
    if (kind == 2 && i % E == E / 2) values[i] += 30;
    if (kind == 3) values[i] = 1;
  }
  return values;
}

template <class real>
void expect_parity(test::RouteCase<real>& c, const std::string& what) {
  SCOPED_TRACE(what);
  const int64_t T = c.tokens(), E = c.config.num_experts, K = c.config.top_k, G = c.num_groups();
  const double tolerance = 64 * double{std::numeric_limits<real>::epsilon()};
  c.run();
  std::vector<int64_t> capacity_G;
  for (int64_t g = 0; g < G; ++g)
    capacity_G.push_back(expert_capacity(c.config, c.capacity, c.training,
                                         std::min(c.group_tokens(), T - g * c.group_tokens())));
  const ref::TopKTask task = {c.config, c.group_tokens(), capacity_G, c.valid, c.training, c.key, c.first_token};
  const auto expected = ref::top_k_route<real>(task, c.logits_TE());

  // Decisions, one by one; then the rows: expert by expert, tokens ascending.
  const Routed<real>& rows = c.routing.rows;
  std::vector<int64_t> load_E(E, 0), dropped_K(K, 0);
  std::vector<real> dweight_TK = test::normal_values<real>(T * K, 5), dweight_R(rows.num_rows());
  for (int64_t i = 0; i < T * K; ++i) {
    ASSERT_EQ(c.routing.choices.expert_TK[i], expected.expert_TK[i]) << i;
    ASSERT_EQ(c.routing.choices.place_TK[i], expected.place_TK[i]) << i;
    ASSERT_EQ(c.routing.choices.kept_TK[i], expected.kept_TK[i]) << i;
    if (expected.expert_TK[i] >= 0) ++load_E[expected.expert_TK[i]], dropped_K[i % K] += !expected.kept_TK[i];
  }
  EXPECT_EQ(c.stats.load_E, load_E);
  EXPECT_EQ(c.stats.dropped_K, dropped_K);
  int64_t row = 0;
  for (int32_t e = 0; e < E; ++e) {
    ASSERT_EQ(rows.offsets[e], row);
    for (int64_t i = 0; i < T * K; ++i) {
      if (!expected.kept_TK[i] || expected.expert_TK[i] != e) continue;
      ASSERT_EQ(rows.token_of_R[row], i / K);
      ASSERT_EQ(rows.choice_of_R[row], i % K);
      ASSERT_NEAR(rows.weight_R[row], expected.weight_TK[i], tolerance * (1 + std::abs(expected.weight_TK[i])));
      dweight_R[row++] = dweight_TK[i];
    }
  }
  ASSERT_EQ(rows.num_rows(), row);
  for (int64_t t = 0; t < T; ++t) {
    int64_t last = -1, kept = 0;
    for (int64_t k = 0; k < K; ++k) kept += expected.kept_TK[t * K + k];
    ASSERT_EQ(static_cast<int64_t>(rows.rows_of(t).size()), kept);
    for (const int32_t r : rows.rows_of(t)) {
      ASSERT_EQ(rows.token_of_R[r], t);
      ASSERT_GT(rows.choice_of_R[r], last);
      last = rows.choice_of_R[r];
    }
  }

  double mean = 0.0;
  for (int64_t g = 0; g < G; ++g) {
    ASSERT_NEAR(c.stats.losses.at(0).by_group.at(g), expected.balance_G[g], tolerance * expected.balance_G[g]);
    mean += expected.balance_G[g] * static_cast<double>(std::min(c.group_tokens(), T - g * c.group_tokens()));
  }
  EXPECT_NEAR(c.stats.loss(kBalanceLoss), mean / static_cast<double>(T), tolerance * mean);

  std::vector<double> scale_G(G);
  for (int64_t g = 0; g < G; ++g) scale_G[g] = 3.0 + static_cast<double>(g);
  std::vector<real> dlogits(T * E, 9), expected_dlogits(T * E);
  route_backward<real>(c.task(), c.routing, dweight_R, scale_G, {dlogits.data(), T, E});
  ref::top_k_route_backward<real>(task, expected, dweight_TK, scale_G, {expected_dlogits.data(), T, E});
  // Gradients by probabilities, up to scale * E / S and what weights add, cancel.
  double largest = 0.0, worst = 0.0;
  for (const real value : expected_dlogits) largest = std::max(largest, std::abs(double{value}));
  for (int64_t g = 0; g < G; ++g)
    largest = std::max(largest, scale_G[g] * static_cast<double>(E) / static_cast<double>(c.group_tokens()));
  for (int64_t i = 0; i < T * E; ++i) worst = std::max(worst, std::abs(double{dlogits[i]} - double{expected_dlogits[i]}));
  EXPECT_LE(worst, tolerance * largest) << "gradient";
}

TYPED_TEST(RouteParity, EveryOptionMatchesTheReference) {
  struct Sizes {
    int64_t T, E, K;
  };
  using Set = void (*)(test::RouteCase<TypeParam>&);
  const std::vector<std::pair<std::string, Set>> options = {
      {"dropless", [](auto&) {}},
      {"never", [](auto& c) { c.config.normalize = Normalize::kNever; }},
      {"capacity", [](auto& c) { c.config.capacity = Capacity::kFairseq; }},
      {"capacity, before", [](auto& c) {
         c.config.capacity = Capacity::kFairseq, c.config.normalize = Normalize::kBeforeDropping;
       }},
      {"prioritized, groups", [](auto& c) {
         c.config.capacity = Capacity::kFairseq, c.config.batch_prioritized = true, c.group = 7;
       }},
      {"one place, never, groups", [](auto& c) {
         c.capacity = {CapacityRule::kFraction, 1e-9}, c.group = 13, c.config.normalize = Normalize::kNever;
       }},
      {"sampling", [](auto& c) { c.config.second_choice = SecondChoice::kSampling, c.first_token = 1000; }},
      {"random, capacity", [](auto& c) {
         c.config.second_choice = SecondChoice::kRandom, c.config.capacity = Capacity::kFairseq;
       }},
      {"evaluation", [](auto& c) {
         c.training = false, c.config.second_choice = SecondChoice::kSampling, c.config.capacity = Capacity::kFairseq;
       }},
      {"pads", [](auto& c) {
         c.config.pad_mask = true, c.config.capacity = Capacity::kFairseq;
         for (int64_t t = 0; t < c.tokens(); ++t) c.valid.push_back(t % 3 != 1);
       }},
      {"pads that count", [](auto& c) { c.valid.assign(c.tokens(), 0); }},
      {"nothing but pads", [](auto& c) { c.config.pad_mask = true, c.valid.assign(c.tokens(), 0); }},
  };
  for (const Sizes& s : {Sizes{1, 1, 1}, {1, 2, 2}, {5, 2, 1}, {40, 8, 2}, {300, 4, 2}, {33, 8, 8}, {60, 17, 4},
                         {20, 512, 8}, {270, 64, 1}})
    for (const auto& [name, set] : options)
      for (int kind = 0; kind < 4; ++kind) {
        test::RouteCase<TypeParam> c;
        c.config.num_experts = s.E, c.config.top_k = s.K;
        c.logits = logits_of<TypeParam>(kind, s.T, s.E, 11);
        set(c);
        expect_parity(c, fmt::format("{}, T {} E {} K {}, logits {}", name, s.T, s.E, s.K, kind));
        if (testing::Test::HasFailure()) return;
      }
}

TYPED_TEST(RouteParity, BitsDoNotDependOnThreads) {
  std::vector<TypeParam> first_weight, first_gradient;
  test::with_threads({1, 2, 3}, [&](int count) {
    test::RouteCase<TypeParam> c;
    c.config.num_experts = 16, c.config.top_k = 2, c.config.capacity = Capacity::kFairseq, c.group = 100;
    c.logits = logits_of<TypeParam>(0, 1111, 16, 3);
    c.run();
    const int64_t R = c.routing.rows.num_rows();
    std::vector<TypeParam> weight(c.routing.rows.weight_R.begin(), c.routing.rows.weight_R.begin() + R);
    std::vector<TypeParam> gradient(c.logits.size());
    route_backward<TypeParam>(c.task(), c.routing, test::normal_values<TypeParam>(R, 4),
                              std::vector<double>(c.num_groups(), 2.0), {gradient.data(), c.tokens(), 16});
    if (first_weight.empty()) first_weight = weight, first_gradient = gradient;
    EXPECT_EQ(weight, first_weight) << count << " threads";
    EXPECT_EQ(gradient, first_gradient) << count << " threads";
  });
}

}  // namespace
}  // namespace troupe
