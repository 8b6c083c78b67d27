// Biases that even out the load of experts (train/balance_bias.h).
#include "train/balance_bias.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "small_model.h"
#include "train/trainer.h"

namespace troupe {
namespace {

ModelConfig balanced() {
  ModelConfig config = test::small_config();
  config.moe.num_experts = 4, config.moe.every = 1, config.moe.score = RouterScore::kSigmoid;
  config.moe.balance_bias = true, config.moe.bias_rate = 0.25;
  return config;
}

std::vector<float> bias_of(const LanguageModel& model, int64_t layer) {
  const auto values = model.params().at(fmt::format("layers.{}.moe.router.bias", layer));
  return {values.begin(), values.end()};
}

TEST(BalanceBias, GoesUpWhereLoadIsBelowTheMeanAndDownAbove) {
  LanguageModel model(balanced(), Precision::kFp32);
  const RouterStats stats{.layer = 1, .tokens = 8, .load_E = {0, 4, 5, 7}, .dropped_K = {}, .losses = {}};
  update_balance_biases(model.params(), std::vector{stats}, 0.25);
  EXPECT_EQ(bias_of(model, 0), (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(bias_of(model, 1), (std::vector<float>{0.25, 0, -0.25, -0.25}));
  update_balance_biases(model.params(), std::vector{stats}, 0.25, [](const Parameter& p) { return p.layer != 1; });
  EXPECT_EQ(bias_of(model, 1), (std::vector<float>{0.25, 0, -0.25, -0.25}));
}

// Once an update, by the choices of all its micro-batches, whether layers run once or twice.
TEST(BalanceBias, CountsTheWholeUpdateOnce) {
  std::vector<float> plain;
  for (const bool recompute : {false, true}) {
    LanguageModel model(balanced(), Precision::kFp32, {.recompute = recompute});
    initialize(model.params(), 1);
    Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100), {.micro_batches = 3},
                    [&](int64_t step, int64_t micro) { return test::padded_batch(model.config(), step, micro); });
    const StepStats stats = trainer.step();
    for (const RouterStats& layer : stats.routers) {
      EXPECT_EQ(layer.tokens, 48);
      std::vector<float> expected;
      for (const int64_t load : layer.load_E)
        expected.push_back(load < 24 ? 0.25f : load > 24 ? -0.25f : 0.0f);  // 96 choices, 4 experts
      EXPECT_EQ(bias_of(model, layer.layer), expected);
    }
    if (!recompute) plain = bias_of(model, 0);
    EXPECT_EQ(bias_of(model, 0), plain);
    for (const Parameter& parameter : trainer.optimizer().first_moment().entries())
      EXPECT_FALSE(parameter.name.ends_with("router.bias"));
  }
}

// In the second micro-batch the loss sees the choices of the first.
TEST(BalanceBias, BalanceLossCountsTheUpdate) {
  ModelConfig config = balanced();
  config.moe.balance_bias = false, config.moe.balance_choices = BalanceChoices::kAll;
  const auto second = [&](BalanceOver over) {
    config.moe.balance_over = over;
    LanguageModel model(config, Precision::kFp32);
    initialize(model.params(), 1);
    Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100), {.micro_batches = 2},
                    [&](int64_t step, int64_t micro) { return test::padded_batch(config, step, micro); });
    return trainer.step().loss.aux;
  };
  EXPECT_NE(second(BalanceOver::kUpdate), second(BalanceOver::kGroup));
}

}  // namespace
}  // namespace troupe
