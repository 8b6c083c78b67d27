// Gradients that the optimizer takes layer by layer: the same parameters as of those that are all kept, in less memory.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "counting_memory.h"
#include "error_of.h"
#include "small_model.h"
#include "train/trainer.h"

namespace troupe {
namespace {

struct Case {
  const char* name;
  int64_t experts;
  Precision precision;
  bool recompute = false;
  OptimizerConfig optimizer = {};
};

ModelConfig model_of(const Case& which) {
  ModelConfig config = test::small_config();
  config.num_layers = 3, config.moe.num_experts = which.experts, config.moe.every = 2;
  return config;
}

Trainer trainer_of(LanguageModel& model, const OptimizerConfig& optimizer) {
  initialize(model.params(), 1);
  return Trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100),
                 {.z_loss = 1e-3, .optimizer = optimizer},
                 [&](int64_t step, int64_t micro) { return test::padded_batch(model.config(), step, micro); });
}

class ReleasedGradients : public testing::TestWithParam<Case> {};

TEST_P(ReleasedGradients, MoveParametersAsThoseThatAreKept) {
  const Case& which = GetParam();
  const ModelConfig config = model_of(which);
  OptimizerConfig released = which.optimizer;
  released.release_gradients = true;
  test::CountingMemory memory_of_kept, memory_of_released;
  LanguageModel kept(config, which.precision, {.recompute = which.recompute}, memory_of_kept);
  LanguageModel other(config, which.precision, {.recompute = which.recompute}, memory_of_released);
  Trainer keeps = trainer_of(kept, which.optimizer), releases = trainer_of(other, released);
  for (int step = 0; step < 3; ++step) {
    const StepStats expected = keeps.step(), actual = releases.step();
    EXPECT_EQ(actual.loss.total, expected.loss.total);
    EXPECT_NEAR(actual.grad_norm, expected.grad_norm, 1e-12 * expected.grad_norm);
  }
  EXPECT_TRUE(std::ranges::equal(std::as_const(other).params().all(), std::as_const(kept).params().all()));
  EXPECT_EQ(releases.optimizer().updates(), 3);
  EXPECT_LT(releases.gradients().all().size(), keeps.gradients().all().size());
  EXPECT_EQ(memory_of_kept.held_bytes - memory_of_released.held_bytes,
            static_cast<int64_t>(keeps.gradients().all().size_bytes() - releases.gradients().all().size_bytes()));
}

INSTANTIATE_TEST_SUITE_P(Models, ReleasedGradients,
                         testing::Values(Case{"dense", 0, Precision::kFp32}, Case{"moe", 4, Precision::kFp32},
                                         Case{"bf16Recompute", 4, Precision::kBf16, true},
                                         Case{"muon", 4, Precision::kFp32, false, {.matrices = MatrixOptimizer::kMuon}},
                                         Case{
                                             "momentsBf16", 4, Precision::kBf16, false, {.moments = Precision::kBf16}}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ReleasedGradientsOfAModel, AreRefusedWithWhatNeedsAllOfThem) {
  LanguageModel model(test::small_config(), Precision::kFp32);
  const auto refusal = [&](TrainerOptions options) {
    options.optimizer.release_gradients = true;
    return test::error_of([&] { Trainer(model, Schedule({}, 1), options, {}); }, ErrorCode::kUsage);
  };
  EXPECT_NE(refusal({.clip_norm = 0.5}).find("train.clip_norm 0.5"), std::string::npos);
  EXPECT_NE(refusal({.micro_batches = 2}).find("got 2 micro-batches"), std::string::npos);
}

TEST(ReleasedGradientsOfAModel, ThatAreNotFiniteEndTheStepByName) {
  const ModelConfig config = test::small_config();
  LanguageModel model(config, Precision::kFp32);
  Trainer trainer = trainer_of(model, {.release_gradients = true});
  model.params().at("layers.1.attn.out_proj.weight")[3] = std::numeric_limits<float>::quiet_NaN();
  const std::string message = test::error_of([&] { trainer.step(); }, ErrorCode::kNonFinite);
  EXPECT_NE(message.find("step 1: gradient of layers.1."), std::string::npos) << message;
  EXPECT_EQ(trainer.optimizer().updates(), 0);
}

}  // namespace
}  // namespace troupe
