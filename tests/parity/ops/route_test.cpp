// Every row of routing's lists against the reference: each decision, the rows made of them, weights, losses, gradients.
#include "ops/route/route.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gradient.h"
#include "implementations.h"
#include "ops/route/losses.h"
#include "ops/route/policy.h"
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

// What one row of the lists makes of a case.
template <class real>
struct OneRow {
  Arena arena{active_memory()};
  Routing<real> routing;
  RouterStats stats;
  std::vector<double> loss_G, z_loss_G;
  std::vector<real> dprob_GE, dlogits_TE;

  // dweight_TK and scale_G are what the way back starts from.
  OneRow(const test::RouteCase<real>& c, std::string_view row, std::span<const real> dweight_TK,
          std::span<const double> scale_G)
      : loss_G(c.num_groups(), -1.0), z_loss_G(c.num_groups(), 0.0) {
    const int64_t T = c.tokens(), E = c.config.num_experts, G = c.num_groups();
    routing.plan(arena, c.config, T);
    arena.commit();
    routing.plan(arena, c.config, T);
    test::run_as(row, Route<real>{c.request(), c.logits_TE(), routing, stats, c.bias});
    stats.arrive();
    test::run_as(row, BalanceLoss<real>{c.request(), routing, loss_G});
    dprob_GE = test::normal_values<real>(G * E, 6), dlogits_TE.assign(static_cast<size_t>(T * E), 9);
    test::run_as(row, BalanceLossBackward<real>{c.request(), routing, scale_G, {dprob_GE.data(), G, E}});
    std::vector<real> dweight_R;
    for (int64_t r = 0; r < routing.rows.num_rows(); ++r)
      dweight_R.push_back(dweight_TK[static_cast<size_t>(routing.rows.element_of(static_cast<int32_t>(r)))]);
    test::run_as(row, RouteBackward<real>{c.request(), routing, dweight_R, {dprob_GE.data(), G, E},
                                          {dlogits_TE.data(), T, E}});
    if (c.config.router_z_loss == 0.0) return;
    test::run_as(row, RouterZLoss<real>{c.request(), c.logits_TE(), routing, z_loss_G});
    test::run_as(row, RouterZLossBackward<real>{c.request(), routing, scale_G, {dlogits_TE.data(), T, E}});
  }
};

template <class Values>
auto first_of(const Values& values, int64_t count) {
  return std::vector(values.begin(), values.begin() + count);
}

template <class real>
void expect_parity(const test::RouteCase<real>& c, const std::string& what) {
  const int64_t T = c.tokens(), E = c.config.num_experts, G = c.num_groups();
  const int64_t K = router_policy(c.config).num_choices(c.config);
  const double tolerance = 64 * double{std::numeric_limits<real>::epsilon()};
  const std::vector<real> dweight_TK = test::normal_values<real>(T * K, 5);
  std::vector<double> scale_G(G);
  for (int64_t g = 0; g < G; ++g) scale_G[g] = 3.0 + static_cast<double>(g);
  const OneRow<real> expected(c, "ref", dweight_TK, scale_G);
  for (const std::string_view row : test::usable<Route<real>>()) {
    if (row == "ref") continue;
    SCOPED_TRACE(fmt::format("{}: {}", row, what));
    const OneRow<real> actual(c, row, dweight_TK, scale_G);

    // Decisions and the rows made of them, exactly.
    const Routed<real>&rows = actual.routing.rows, &expected_rows = expected.routing.rows;
    const int64_t R = rows.num_rows();
    ASSERT_EQ(first_of(rows.offsets_here(), E + 1), first_of(expected_rows.offsets_here(), E + 1));
    ASSERT_EQ(R, rows.offsets_here().back());
    ASSERT_EQ(first_of(actual.routing.choices.expert_TK, T * K), first_of(expected.routing.choices.expert_TK, T * K));
    ASSERT_EQ(first_of(actual.routing.choices.place_TK, T * K), first_of(expected.routing.choices.place_TK, T * K));
    ASSERT_EQ(first_of(actual.routing.choices.kept_TK, T * K), first_of(expected.routing.choices.kept_TK, T * K));
    ASSERT_EQ(first_of(rows.token_of_R, R), first_of(expected_rows.token_of_R, R));
    ASSERT_EQ(first_of(rows.choice_of_R, R), first_of(expected_rows.choice_of_R, R));
    ASSERT_EQ(first_of(rows.begin_T, T + 1), first_of(expected_rows.begin_T, T + 1));
    ASSERT_EQ(first_of(rows.rows_by_token, R), first_of(expected_rows.rows_by_token, R));
    EXPECT_EQ(actual.stats.tokens, T);
    EXPECT_EQ(actual.stats.load_E, expected.stats.load_E);
    EXPECT_EQ(actual.stats.dropped_K, expected.stats.dropped_K);
    EXPECT_NEAR(actual.stats.entropy_sum, expected.stats.entropy_sum,  // T * E terms of one sign
                tolerance * static_cast<double>(T + E) * (1 + expected.stats.entropy_sum));

    for (int64_t r = 0; r < R; ++r)
      ASSERT_NEAR(rows.weight_R[r], expected_rows.weight_R[r], tolerance * (1 + std::abs(expected_rows.weight_R[r])));
    for (int64_t g = 0; g < G; ++g)
      ASSERT_NEAR(actual.loss_G[g], expected.loss_G[g], tolerance * expected.loss_G[g]);
    for (int64_t g = 0; g < G; ++g)
      ASSERT_NEAR(actual.z_loss_G[g], expected.z_loss_G[g], tolerance * (1 + expected.z_loss_G[g]));
    for (int64_t i = 0; i < G * E; ++i)
      ASSERT_NEAR(actual.dprob_GE[i], expected.dprob_GE[i], tolerance * (1 + std::abs(expected.dprob_GE[i])));
    // Gradients by probabilities, and what weights add, cancel.
    double largest = 1.0, worst = 0.0;
    for (const double loss : expected.z_loss_G) largest = std::max(largest, loss);
    for (const auto* values : {&expected.dlogits_TE, &expected.dprob_GE})
      for (const real value : *values) largest = std::max(largest, std::abs(double{value}));
    for (int64_t i = 0; i < T * E; ++i)
      worst = std::max(worst, std::abs(double{actual.dlogits_TE[i]} - double{expected.dlogits_TE[i]}));
    EXPECT_LE(worst, tolerance * largest) << "gradient";
  }
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
      {"penalty", [](auto& c) { c.config.router_z_loss = 1.0, c.group = 11; }},
      {"sigmoid", [](auto& c) { c.config.score = RouterScore::kSigmoid, c.config.output_scale = 2.5; }},
      {"sigmoid, bias, capacity, all choices", [](auto& c) {
         c.config.score = RouterScore::kSigmoid, c.config.capacity = Capacity::kFairseq, c.group = 9;
         c.config.balance_bias = true, c.bias = test::normal_values<TypeParam>(c.config.num_experts, 8, 0.2);
         c.config.balance_choices = BalanceChoices::kAll;
       }},
      {"softmax, bias", [](auto& c) {
         c.config.balance_bias = true, c.bias = test::normal_values<TypeParam>(c.config.num_experts, 8, 0.2);
       }},
      {"groups, bias", [](auto& c) {
         const int64_t E = c.config.num_experts;
         c.config.groups = E % 4 == 0 ? 4 : 1, c.config.groups_kept = (c.config.groups + 1) / 2;
         if (E / c.config.groups * c.config.groups_kept < c.config.top_k) c.config.groups = c.config.groups_kept = 1;
         c.config.score = RouterScore::kSigmoid, c.bias = test::normal_values<TypeParam>(E, 8, 0.2);
       }},
      {"update", [](auto& c) {
         c.config.balance_choices = BalanceChoices::kAll, c.config.balance_over = BalanceOver::kUpdate;
         for (int64_t e = 0; e < c.config.num_experts; ++e) c.before.push_back(3 * e % 7);
         c.tokens_before = 29;
       }},
      {"chance in evaluation", [](auto& c) {
         c.training = false, c.config.chance_in_eval = true, c.config.second_choice = SecondChoice::kSampling;
       }},
      {"hash", [](auto& c) {
         c.config.router = RouterKind::kHash, c.config.capacity = Capacity::kFairseq, c.group = 50;
         for (int64_t t = 0; t < c.tokens(); ++t) c.ids.push_back(static_cast<int32_t>(t * 7919 % 1000));
       }},
      {"experts choose", [](auto& c) {
         c.config.router = RouterKind::kExpertChoice, c.config.normalize = Normalize::kNever;
       }},
      {"experts choose among what is no pad", [](auto& c) {
         c.config.router = RouterKind::kExpertChoice, c.config.normalize = Normalize::kNever, c.config.pad_mask = true;
         for (int64_t t = 0; t < c.tokens(); ++t) c.valid.push_back(t % 3 == 1);
       }},
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
    c.config.router_z_loss = 1.0;
    c.logits = logits_of<TypeParam>(0, 1111, 16, 3);
    c.run();
    const int64_t R = c.routing.rows.num_rows();
    std::vector<TypeParam> weight(c.routing.rows.weight_R.begin(), c.routing.rows.weight_R.begin() + R);
    std::vector<TypeParam> gradient(c.logits.size());
    route_backward<TypeParam>(c.request(), c.routing, test::normal_values<TypeParam>(R, 4),
                              std::vector<double>(2 * c.num_groups(), 2.0), {gradient.data(), c.tokens(), 16});
    if (first_weight.empty()) first_weight = weight, first_gradient = gradient;
    EXPECT_EQ(weight, first_weight) << count << " threads";
    EXPECT_EQ(gradient, first_gradient) << count << " threads";
  });
}

}  // namespace
}  // namespace troupe
