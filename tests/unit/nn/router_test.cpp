// Routing decisions and rows, against hand-worked cases. Agreement with fairseq itself: tests/golden/model.
#include "nn/moe/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "nn/moe/dispatch_plan.h"

namespace troupe {
namespace {

struct Routed {
  Arena arena;
  Routing<float> routing;
  DispatchPlan plan;
  RouterStats stats;
};

MoeConfig moe(int64_t experts, int64_t top_k, Capacity capacity = Capacity::kDropless) {
  MoeConfig config;
  config.num_experts = experts, config.top_k = top_k, config.capacity = capacity;
  return config;
}

void run(const MoeConfig& config, std::vector<float> logits, Routed& out, RunMode mode = {.training = true},
         int64_t group = 0, std::span<const uint8_t> valid = {}) {
  const auto T = static_cast<int64_t>(logits.size()) / config.num_experts;
  const auto lay_out = [&] {
    out.routing.plan(out.arena, T, config);
    out.plan.plan(out.arena, T, config.top_k);
  };
  lay_out();
  out.arena.commit();
  lay_out();
  const Matrix<const float> logits_TE(logits.data(), T, config.num_experts);
  out.stats = route<float>(config, logits_TE, {group > 0 ? group : T, valid}, mode, 0, out.routing);
  build(out.routing, out.plan);
}

TEST(Router, SecondChoiceOfAnOverfullExpertFindsNoPlace) {
  // Four tokens, two experts: capacity 2 * ceil(4 / 2) = 4 in training; force 1 place by a fraction.
  Routed routed;
  RunMode mode;
  mode.capacity = {CapacityRule::kFraction, 0.25};
  run(moe(2, 2, Capacity::kFairseq), {2, 1, 2, 1, 2, 1, 1, 2}, routed, mode);
  // First choices 0, 0, 0, 1: places 0, 1, 2 on expert 0 and 0 on expert 1; one place each.
  EXPECT_EQ(std::vector<int32_t>(routed.routing.place_TK.begin(), routed.routing.place_TK.end()),
            (std::vector<int32_t>{0, 1, 1, 2, 2, 3, 0, 3}));  // second choices count on from all first choices
  EXPECT_EQ(std::vector<uint8_t>(routed.routing.kept_TK.begin(), routed.routing.kept_TK.end()),
            (std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 1, 0}));
  // One choice dropped: the other has weight 1. Both dropped: nothing is added.
  EXPECT_FLOAT_EQ(routed.routing.weight_TK[0], 1.0f);
  EXPECT_FLOAT_EQ(routed.routing.weight_TK[2], 0.0f);
  EXPECT_FLOAT_EQ(routed.routing.weight_TK[3], 0.0f);
  EXPECT_EQ(routed.stats.dropped_K, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(routed.plan.num_rows(), 2);
}

TEST(Router, TiesGoToTheLowestExpert) {
  Routed routed;
  run(moe(4, 3), {1, 1, 1, 1}, routed);
  EXPECT_EQ(std::vector<int32_t>(routed.routing.expert_TK.begin(), routed.routing.expert_TK.end()),
            (std::vector<int32_t>{0, 1, 2}));
}

TEST(Router, BalancedFirstChoicesHaveLossOne) {
  Routed routed;
  run(moe(2, 1), {0.0f, 0.0f, 0.0f, 0.0f}, routed);
  EXPECT_NEAR(routed.stats.aux, 1.0, 1e-6);  // even probabilities: E * sum(1/2 * share) = 1 whatever the shares
  Routed skewed;
  run(moe(2, 1), {50.0f, 0.0f, 50.0f, 0.0f}, skewed);
  EXPECT_NEAR(skewed.stats.aux, 2.0, 1e-6);
  EXPECT_EQ(skewed.stats.unused_experts(), 1);
  EXPECT_DOUBLE_EQ(skewed.stats.busiest_fifth(), 1.0);
  EXPECT_DOUBLE_EQ(skewed.stats.idlest_fifth(), 0.0);
}

TEST(Router, CapacityRulesOfFairseq) {
  const MoeConfig top2 = moe(8, 2, Capacity::kFairseq);
  RunMode training{.training = true}, evaluation;
  EXPECT_EQ(expert_capacity(top2, training, 256), 64);
  EXPECT_EQ(expert_capacity(top2, training, 257), 66);
  EXPECT_EQ(expert_capacity(top2, evaluation, 256), 64);  // ceil(0.25 * 256)
  evaluation.capacity = {CapacityRule::kFraction, 0.05};
  EXPECT_EQ(expert_capacity(top2, evaluation, 256), 13);
  evaluation.capacity = {CapacityRule::kFraction, -1.0};
  EXPECT_EQ(expert_capacity(top2, evaluation, 256), 64);
  MoeConfig top1 = moe(8, 1, Capacity::kFairseq);
  top1.capacity_factor = 1.25;
  EXPECT_EQ(expert_capacity(top1, training, 256), 40);
  evaluation.capacity = {CapacityRule::kDropless};
  EXPECT_GT(expert_capacity(top2, evaluation, 256), int64_t{1} << 40);
}

TEST(Router, GroupsCountTheirOwnPlaces) {
  Routed routed;
  RunMode mode;
  mode.capacity = {CapacityRule::kFraction, 0.5};
  run(moe(2, 1, Capacity::kFairseq), {1, 0, 1, 0, 1, 0, 1, 0}, routed, mode, 2);
  EXPECT_EQ(std::vector<int32_t>(routed.routing.place_TK.begin(), routed.routing.place_TK.end()),
            (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(routed.stats.aux_by_group.size(), 2u);
}

TEST(Router, PadMaskKeepsPadsOut) {
  MoeConfig config = moe(2, 2);
  config.pad_mask = true;
  Routed routed;
  const std::vector<uint8_t> valid = {1, 0, 1};
  run(config, {1, 0, 1, 0, 1, 0}, routed, {.training = true}, 0, valid);
  EXPECT_EQ(routed.routing.expert_TK[2], -1);
  EXPECT_EQ(routed.plan.num_rows(), 4);
  EXPECT_EQ(routed.routing.place_TK[4], 1);  // the pad took no place
}

TEST(Router, RandomPolicyDropsUnlikelySecondChoices) {
  MoeConfig config = moe(2, 2);
  config.second_choice = SecondChoice::kRandom;
  Routed routed;
  std::vector<float> logits;
  for (int i = 0; i < 4000; ++i) logits.insert(logits.end(), {0.0f, std::log(0.25f)});  // p2 = 0.2: kept with 0.4
  run(config, logits, routed);
  EXPECT_NEAR(static_cast<double>(routed.stats.load_E[1]) / 4000, 0.4, 5 * std::sqrt(0.4 * 0.6 / 4000));
}

TEST(Router, SamplingPolicyDrawsSecondChoicesByProbability) {
  MoeConfig config = moe(3, 2);
  config.second_choice = SecondChoice::kSampling;
  Routed routed;
  std::vector<float> logits;
  for (int i = 0; i < 4000; ++i) logits.insert(logits.end(), {5.0f, std::log(3.0f), 0.0f});  // 3 : 1 among the rest
  run(config, logits, routed);
  EXPECT_NEAR(static_cast<double>(routed.stats.load_E[1]) / 4000, 0.75, 5 * std::sqrt(0.75 * 0.25 / 4000));
}

// Every kept (token, choice) has one row, rows are sorted by expert, offsets add up.
void expect_permutation(const Routed& routed) {
  const Routing<float>& routing = routed.routing;
  std::set<int32_t> rows;
  for (int64_t i = 0; i < routing.T * routing.K; ++i) {
    if (!routing.kept_TK[i]) {
      EXPECT_EQ(routed.plan.row_of_TK[i], -1);
      continue;
    }
    const int32_t row = routed.plan.row_of_TK[i];
    EXPECT_TRUE(rows.insert(row).second);
    EXPECT_EQ(routed.plan.source_of_R[row], i);
    EXPECT_GE(row, routed.plan.offsets[routing.expert_TK[i]]);
    EXPECT_LT(row, routed.plan.offsets[routing.expert_TK[i] + 1]);
  }
  EXPECT_EQ(static_cast<int64_t>(rows.size()), routed.plan.num_rows());
}

TEST(DispatchPlan, ConservesTokensWithEmptyAndFavouriteExperts) {
  Routed favourite;  // every token on experts 3 and 0, six experts empty
  std::vector<float> logits;
  for (int i = 0; i < 40; ++i) logits.insert(logits.end(), {3, 0, 0, 9, 0, 0, 0, 0});
  run(moe(8, 2), logits, favourite);
  expect_permutation(favourite);
  EXPECT_EQ(favourite.plan.offsets, (std::vector<int64_t>{0, 40, 40, 40, 80, 80, 80, 80, 80}));

  Routed one;  // one token in all
  run(moe(8, 2), {0, 1, 2, 3, 4, 5, 6, 7}, one);
  expect_permutation(one);
  EXPECT_EQ(one.plan.num_rows(), 2);

  Routed dropped;
  run(moe(8, 2, Capacity::kFairseq), logits, dropped);
  expect_permutation(dropped);
  EXPECT_EQ(dropped.plan.num_rows(), 20);  // capacity 2 * ceil(40 / 8) = 10 on each of two experts
}

}  // namespace
}  // namespace troupe
