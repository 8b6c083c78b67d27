// Routing decisions and rows, against hand-worked cases. Agreement with fairseq itself: tests/golden/model.
#include "ops/route/route.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "error_of.h"
#include "gradient.h"
#include "ops/route/losses.h"
#include "ops/route/policy.h"
#include "route_case.h"

namespace troupe {
namespace {

struct RoutedCase {
  Arena arena;
  Routing<float> routing;
  RouterStats stats;

  // Of a token's choice; 0 if it was dropped or masked.
  float weight(int64_t token, int64_t choice) const {
    for (const int32_t row : routing.rows.rows_of(token))
      if (routing.rows.choice_of_R[row] == choice) return routing.rows.weight_R[row];
    return 0.0f;
  }
};

MoeConfig moe(int64_t experts, int64_t top_k, Capacity capacity = Capacity::kDropless) {
  MoeConfig config;
  config.num_experts = experts, config.top_k = top_k, config.capacity = capacity;
  return config;
}

struct Mode {
  bool training = true;
  CapacityRule capacity = {};
};

void run(const MoeConfig& config, std::vector<float> logits, RoutedCase& out, Mode mode = {}, int64_t group = 0,
         std::span<const uint8_t> valid = {}) {
  const auto T = static_cast<int64_t>(logits.size()) / config.num_experts;
  out.routing.plan(out.arena, config, T);
  out.arena.commit();
  out.routing.plan(out.arena, config, T);
  const RouteRequest request = {.config = config,
                                .groups = {group > 0 ? group : T, valid},
                                .capacity = mode.capacity,
                                .training = mode.training};
  out.stats = route<float>(request, {logits.data(), T, config.num_experts}, out.routing);
}

TEST(Router, SecondChoiceOfAnOverfullExpertFindsNoPlace) {
  // Four tokens, two experts: capacity 2 * ceil(4 / 2) = 4 in training; force 1 place by a fraction.
  RoutedCase routed;
  const Mode mode = {false, {CapacityRule::kFraction, 0.25}};
  run(moe(2, 2, Capacity::kFairseq), {2, 1, 2, 1, 2, 1, 1, 2}, routed, mode);
  // First choices 0, 0, 0, 1: places 0, 1, 2 on expert 0 and 0 on expert 1; one place each.
  EXPECT_EQ(std::vector<int32_t>(routed.routing.choices.place_TK.begin(), routed.routing.choices.place_TK.end()),
            (std::vector<int32_t>{0, 1, 1, 2, 2, 3, 0, 3}));  // second choices count on from all first choices
  EXPECT_EQ(std::vector<uint8_t>(routed.routing.choices.kept_TK.begin(), routed.routing.choices.kept_TK.end()),
            (std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 1, 0}));
  // One choice dropped: the other has weight 1. Both dropped: nothing is added.
  EXPECT_FLOAT_EQ(routed.weight(0, 0), 1.0f);
  EXPECT_FLOAT_EQ(routed.weight(1, 0), 0.0f);
  EXPECT_FLOAT_EQ(routed.weight(1, 1), 0.0f);
  EXPECT_EQ(routed.stats.dropped_K, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(routed.routing.rows.num_rows(), 2);
}

TEST(Router, TiesGoToTheLowestExpert) {
  RoutedCase routed;
  run(moe(4, 3), {1, 1, 1, 1}, routed);
  EXPECT_EQ(std::vector<int32_t>(routed.routing.choices.expert_TK.begin(), routed.routing.choices.expert_TK.end()),
            (std::vector<int32_t>{0, 1, 2}));
}

TEST(Router, BalancedFirstChoicesHaveLossOne) {
  RoutedCase routed;
  run(moe(2, 1), {0.0f, 0.0f, 0.0f, 0.0f}, routed);
  EXPECT_NEAR(routed.stats.loss(kBalanceLoss), 1.0, 1e-6);  // even probabilities: E * sum(1/2 * share) = 1 whatever the shares
  RoutedCase skewed;
  run(moe(2, 1), {50.0f, 0.0f, 50.0f, 0.0f}, skewed);
  EXPECT_NEAR(skewed.stats.loss(kBalanceLoss), 2.0, 1e-6);
  EXPECT_EQ(skewed.stats.unused_experts(), 1);
  EXPECT_DOUBLE_EQ(skewed.stats.busiest_fifth(), 1.0);
  EXPECT_DOUBLE_EQ(skewed.stats.idlest_fifth(), 0.0);
}

TEST(Router, CapacityRulesOfFairseq) {
  const MoeConfig top2 = moe(8, 2, Capacity::kFairseq);
  const auto places = [](const MoeConfig& config, bool training, int64_t tokens, CapacityRule rule = {}) {
    return expert_capacity(config, rule, training, tokens);
  };
  EXPECT_EQ(places(top2, true, 256), 64);
  EXPECT_EQ(places(top2, true, 257), 66);
  EXPECT_EQ(places(top2, false, 256), 64);  // ceil(0.25 * 256)
  EXPECT_EQ(places(top2, false, 256, {CapacityRule::kFraction, 0.05}), 13);
  EXPECT_EQ(places(top2, false, 256, {CapacityRule::kFraction, -1.0}), 64);
  MoeConfig top1 = moe(8, 1, Capacity::kFairseq);
  top1.capacity_factor = 1.25;
  EXPECT_EQ(places(top1, true, 256), 40);
  EXPECT_GT(places(top2, false, 256, {CapacityRule::kDropless}), int64_t{1} << 40);
}

TEST(Router, GroupsCountTheirOwnPlaces) {
  RoutedCase routed;
  const Mode mode = {false, {CapacityRule::kFraction, 0.5}};
  run(moe(2, 1, Capacity::kFairseq), {1, 0, 1, 0, 1, 0, 1, 0}, routed, mode, 2);
  EXPECT_EQ(std::vector<int32_t>(routed.routing.choices.place_TK.begin(), routed.routing.choices.place_TK.end()),
            (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(routed.stats.losses[0].by_group.size(), 2u);
}

TEST(Router, PadMaskKeepsPadsOut) {
  MoeConfig config = moe(2, 2);
  config.pad_mask = true;
  RoutedCase routed;
  const std::vector<uint8_t> valid = {1, 0, 1};
  run(config, {1, 0, 1, 0, 1, 0}, routed, {}, 0, valid);
  EXPECT_EQ(routed.routing.choices.expert_TK[2], -1);
  EXPECT_EQ(routed.routing.rows.num_rows(), 4);
  EXPECT_EQ(routed.routing.choices.place_TK[4], 1);  // the pad took no place
}

TEST(Router, RandomPolicyDropsUnlikelySecondChoices) {
  MoeConfig config = moe(2, 2);
  config.second_choice = SecondChoice::kRandom;
  RoutedCase routed;
  std::vector<float> logits;
  for (int i = 0; i < 4000; ++i) logits.insert(logits.end(), {0.0f, std::log(0.25f)});  // p2 = 0.2: kept with 0.4
  run(config, logits, routed);
  EXPECT_NEAR(static_cast<double>(routed.stats.load_E[1]) / 4000, 0.4, 5 * std::sqrt(0.4 * 0.6 / 4000));
}

TEST(Router, SamplingPolicyDrawsSecondChoicesByProbability) {
  MoeConfig config = moe(3, 2);
  config.second_choice = SecondChoice::kSampling;
  RoutedCase routed;
  std::vector<float> logits;
  for (int i = 0; i < 4000; ++i) logits.insert(logits.end(), {5.0f, std::log(3.0f), 0.0f});  // 3 : 1 among the rest
  run(config, logits, routed);
  EXPECT_NEAR(static_cast<double>(routed.stats.load_E[1]) / 4000, 0.75, 5 * std::sqrt(0.75 * 0.25 / 4000));
}

// Every kept (token, choice) has one row, rows are sorted by expert, then by token; both ways of asking agree.
void expect_permutation(const RoutedCase& routed) {
  const Routing<float>& routing = routed.routing;
  const Routed<float>& rows = routing.rows;
  std::set<int32_t> seen;
  for (int64_t t = 0; t < routing.T; ++t) {
    int64_t k = 0;
    for (const int32_t row : rows.rows_of(t)) {
      while (k < routing.K && !routing.choices.kept_TK[t * routing.K + k]) ++k;
      ASSERT_LT(k, routing.K);
      EXPECT_TRUE(seen.insert(row).second);
      EXPECT_EQ(rows.token_of_R[row], t);
      EXPECT_EQ(rows.choice_of_R[row], k);
      EXPECT_EQ(rows.element_of(row), t * routing.K + k);
      const int32_t expert = routing.choices.expert_TK[t * routing.K + k++];
      EXPECT_GE(row, rows.offsets[expert]);
      EXPECT_LT(row, rows.offsets[expert + 1]);
      if (row > rows.offsets[expert]) {
        EXPECT_LT(rows.token_of_R[row - 1], t);
      }
    }
    for (; k < routing.K; ++k) EXPECT_FALSE(routing.choices.kept_TK[t * routing.K + k]);
  }
  EXPECT_EQ(static_cast<int64_t>(seen.size()), rows.num_rows());
}

TEST(Routed, ConservesTokensWithEmptyAndFavouriteExperts) {
  RoutedCase favourite;  // every token on experts 3 and 0, six experts empty
  std::vector<float> logits;
  for (int i = 0; i < 40; ++i) logits.insert(logits.end(), {3, 0, 0, 9, 0, 0, 0, 0});
  run(moe(8, 2), logits, favourite);
  expect_permutation(favourite);
  EXPECT_EQ(favourite.routing.rows.offsets, (std::vector<int64_t>{0, 40, 40, 40, 80, 80, 80, 80, 80}));

  RoutedCase one;  // one token in all
  run(moe(8, 2), {0, 1, 2, 3, 4, 5, 6, 7}, one);
  expect_permutation(one);
  EXPECT_EQ(one.routing.rows.num_rows(), 2);

  RoutedCase dropped;
  run(moe(8, 2, Capacity::kFairseq), logits, dropped);
  expect_permutation(dropped);
  EXPECT_EQ(dropped.routing.rows.num_rows(), 20);  // capacity 2 * ceil(40 / 8) = 10 on each of two experts
}

// What generation rests on: a policy of the list that calls itself causal gives a token the same experts and weights
// whatever comes after it; one that does not can be seen to.
TEST(RouterPolicy, CausalMeansThatLaterTokensChangeNothing) {
  for (const RouterPolicy& policy : router_policies()) {
    for (const bool prioritized : {false, true}) {
      test::RouteCase<float> all, prefix;
      for (test::RouteCase<float>* c : {&all, &prefix}) {
        c->config = moe(8, 3, Capacity::kFairseq);
        c->config.router = static_cast<RouterKind>(&policy - router_policies().data());
        c->config.batch_prioritized = prioritized, c->training = false, c->capacity = {CapacityRule::kDropless};
        c->logits = test::normal_values<float>(20 * 8, 1, 2.0);
        c->ids.assign({3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4});
      }
      prefix.logits.resize(7 * 8), prefix.ids.resize(7);
      all.run(), prefix.run();
      bool same = true;
      for (int64_t t = 0; t < 7; ++t) {
        const auto of = [&](const test::RouteCase<float>& c) {
          std::vector<std::pair<int32_t, float>> rows;  // choice and weight
          for (const int32_t row : c.routing.rows.rows_of(t))
            rows.emplace_back(c.routing.rows.choice_of_R[row], c.routing.rows.weight_R[row]);
          return rows;
        };
        same = same && of(all) == of(prefix);
        for (int64_t k = 0; k < all.routing.K; ++k)
          same = same && all.routing.choices.expert_TK[t * all.routing.K + k] ==
                             prefix.routing.choices.expert_TK[t * all.routing.K + k];
      }
      EXPECT_EQ(same, policy.causal) << policy.name;
    }
  }
}

TEST(RouterPolicy, WhatIsNotCausalIsRefusedByName) {
  MoeConfig config = moe(4, 2);
  require_causal(config, "generation");
  config.second_choice = SecondChoice::kSampling;
  require_causal(config, "generation");
  config.chance_in_eval = true;
  EXPECT_EQ(test::error_of([&] { require_causal(config, "generation"); }, ErrorCode::kUsage),
            "model.moe: generation: expected chance_in_eval false, got true (second experts depend on a token's place in "
            "the batch)");
  config = moe(4, 2);
  config.router = RouterKind::kExpertChoice;
  EXPECT_EQ(test::error_of([&] { require_causal(config, "generation"); }, ErrorCode::kUsage),
            "model.moe: generation: expected a causal routing policy, got expert_choice (experts depend on later "
            "tokens)");
}

TEST(Router, ExpertsChooseTheirBestTokens) {
  test::RouteCase<float> c;
  c.config = moe(2, 1), c.config.router = RouterKind::kExpertChoice, c.config.normalize = Normalize::kNever;
  c.logits = {2, 0, 1, 0, 3, 0, 2, 0};  // expert 0 likes token 2, then 0 (before 3); expert 1 likes 1, then 0
  c.run();
  const Routed<float>& rows = c.routing.rows;
  EXPECT_EQ(rows.offsets, (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(std::vector<int32_t>(rows.token_of_R.begin(), rows.token_of_R.end()), (std::vector<int32_t>{0, 2, 0, 1}));
  EXPECT_EQ(rows.rows_of(0).size(), 2u);  // two experts chose it
  EXPECT_EQ(rows.rows_of(3).size(), 0u);  // none did
  EXPECT_FLOAT_EQ(rows.weight_R[1], 1.0f / (1.0f + std::exp(-3.0f)));
  EXPECT_EQ(c.stats.load_E, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(c.stats.dropped_K, (std::vector<int64_t>{1}));  // tokens without an expert
  EXPECT_DOUBLE_EQ(c.stats.loss(kBalanceLoss), 1.0);
}

TEST(Router, ExpertsThatChooseStandWhatIsNotANumber) {
  test::RouteCase<float> c;
  c.config = moe(4, 2), c.config.router = RouterKind::kExpertChoice, c.config.normalize = Normalize::kNever;
  c.logits.assign(64 * 4, std::numeric_limits<float>::quiet_NaN());
  c.run();
  EXPECT_EQ(c.routing.rows.num_rows(), 4 * 32);
}

TEST(Router, HashesGoByIdAndLayerAlone) {
  test::RouteCase<float> c;
  c.config = moe(16, 2), c.config.router = RouterKind::kHash;
  c.logits.resize(4000 * 16);
  for (int32_t t = 0; t < 4000; ++t) c.ids.push_back(t / 2);
  c.run();
  for (int64_t t = 0; t < 4000; t += 2)
    for (int64_t k = 0; k < 2; ++k) {
      EXPECT_EQ(c.routing.choices.expert_TK[t * 2 + k], c.routing.choices.expert_TK[t * 2 + 2 + k]);
      EXPECT_NE(c.routing.choices.expert_TK[t * 2], c.routing.choices.expert_TK[t * 2 + 1]);
    }
  for (const int64_t load : c.stats.load_E) EXPECT_NEAR(static_cast<double>(load), 500.0, 2 * 5 * std::sqrt(250.0));
  for (int64_t r = 0; r < c.routing.rows.num_rows(); ++r) EXPECT_FLOAT_EQ(c.routing.rows.weight_R[r], 0.5f);
  EXPECT_NEAR(c.stats.entropy(), std::log(2.0), 1e-6);
}

TEST(Router, BiasesDecideChoicesAndNotWeights) {
  test::RouteCase<float> c;
  c.config = moe(3, 2), c.config.score = RouterScore::kSigmoid, c.config.balance_bias = true, c.config.output_scale = 3;
  c.logits = {0, 1, 2}, c.bias = {0.5f, 0, 0};  // scores 0.5, 0.73, 0.88; with the bias 1, 0.73, 0.88
  c.run();
  EXPECT_EQ(std::vector<int32_t>(c.routing.choices.expert_TK.begin(), c.routing.choices.expert_TK.end()),
            (std::vector<int32_t>{0, 2}));
  const double best = 1 / (1 + std::exp(-2.0));
  EXPECT_NEAR(c.routing.rows.weight_R[0], 3 * 0.5 / (0.5 + best), 1e-6);
}

TEST(Router, ChoicesStayInTheBestGroups) {
  test::RouteCase<float> c;
  c.config = moe(6, 2), c.config.score = RouterScore::kSigmoid, c.config.groups = 3, c.config.groups_kept = 1;
  c.logits = {3, -9, 1, 1, 0, 0};  // the best expert stands alone; two good ones win
  c.run();
  EXPECT_EQ(std::vector<int32_t>(c.routing.choices.expert_TK.begin(), c.routing.choices.expert_TK.end()),
            (std::vector<int32_t>{2, 3}));
}

TEST(Router, BalanceLossOverAllChoicesAndTheUpdate) {
  test::RouteCase<float> c;
  c.config = moe(4, 2);
  c.logits = {9, 8, 0, 0, 9, 8, 0, 0};  // all on experts 0 and 1
  c.run();
  const double first = c.stats.loss(kBalanceLoss);
  c.config.balance_choices = BalanceChoices::kAll;
  c.run();
  const double all = c.stats.loss(kBalanceLoss);
  EXPECT_NEAR(first, 4 / (1 + std::exp(-1.0)), 2e-3);  // 4 p_0, all first choices are expert 0's
  EXPECT_NEAR(all, 2.0, 1e-3);                         // 4 (p_0 + p_1) / 2
  c.config.balance_over = BalanceOver::kUpdate;
  c.before = {0, 0, 6, 6}, c.tokens_before = 6;  // the micro-batches before had the others: 2, 2, 6, 6 of 16
  c.run();
  EXPECT_NEAR(c.stats.loss(kBalanceLoss), 0.5, 1e-2);
}

TEST(RouterStats, MeansOfLossesWeighByTokens) {
  RouterStats one{.tokens = 1, .load_E = {1}, .dropped_K = {0}, .losses = {{kBalanceLoss, 4.0, {4.0}}},
                  .loss_tokens = 1};
  RouterStats three{.tokens = 3, .load_E = {3}, .dropped_K = {1}, .losses = {{kBalanceLoss, 2.0, {2.0}}},
                    .loss_tokens = 3};
  RouterStats sum;
  sum += one, sum += three;
  EXPECT_DOUBLE_EQ(sum.loss(kBalanceLoss), 2.5);
  EXPECT_EQ(sum.loss("no such term"), 0.0);
  EXPECT_TRUE(sum.losses[0].by_group.empty());  // groups of different passes are not the same groups
}

}  // namespace
}  // namespace troupe
