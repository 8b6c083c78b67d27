// Passes and steps leave the elements of tensors to ops: the memory that they lie in is closed to everybody else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "facts.h"
#include "fenced_memory.h"
#include "ops/elementwise.h"
#include "small_model.h"
#include "train/trainer.h"

namespace troupe {
namespace {

class HostAccess : public testing::TestWithParam<std::tuple<test::ModelCase, Precision>> {
 protected:
  void SetUp() override {
    config_ = test::small_config();
    std::get<0>(GetParam()).set(config_, options_);
  }

  Batch batch(int64_t step, int64_t micro) const { return test::padded_batch(config_, step, micro); }

  // Two updates and a score; after the first pass nothing but `inside` happens in between.
  struct Outcome {
    std::vector<float> weights, nll;
    std::vector<int32_t> argmax;
    bool operator==(const Outcome&) const = default;
  };
  Outcome outcome(Memory& memory, const std::function<void()>& close, const std::function<void()>& open) const {
    LanguageModel model(config_, std::get<1>(GetParam()), options_, memory);
    initialize(model.params(), 1);
    Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100),
                    {.micro_batches = 2, .clip_norm = 0.1},
                    [this](int64_t step, int64_t micro) { return batch(step, micro); });
    Outcome result{.weights = {}, .nll = std::vector<float>(16), .argmax = std::vector<int32_t>(16)};
    close();
    trainer.step(), trainer.step();
    model.score(batch(2, 0), {}, result.nll, result.argmax);
    open();
    const std::span<const float> weights = std::as_const(model).params().all();
    result.weights.assign(weights.begin(), weights.end());
    return result;
  }

  ModelConfig config_;
  DecoderOptions options_;
};

TEST_P(HostAccess, IsLeftToOps) {
  test::FencedMemory fenced;
  const Outcome inside = outcome(fenced, [&] { fenced.close(); }, [&] { fenced.open(); });
  EXPECT_EQ(inside, outcome(host_memory(), [] {}, [] {}));
}

constexpr test::ModelCase kFencedCases[] = {
    {"dense", [](ModelConfig&, DecoderOptions&) {}},
    {"learned", [](ModelConfig& config, DecoderOptions& options) {
       config.positions = Positions::kLearned, options.recompute = true;
     }},
    {"moe", [](ModelConfig& config, DecoderOptions&) { config.moe.num_experts = 4; }},
    {"capacity", [](ModelConfig& config, DecoderOptions& options) {
       config.moe.num_experts = 4, config.moe.every = 2, config.moe.capacity = Capacity::kFairseq;
       config.moe.second_choice = SecondChoice::kSampling, config.moe.pad_mask = true, options.recompute = true;
     }},
    {"llama", [](ModelConfig& config, DecoderOptions&) { test::qwen3_facts(config), config.moe.num_experts = 4; }},
    {"olmo2", [](ModelConfig& config, DecoderOptions&) { test::olmo2_facts(config), config.moe.num_experts = 4; }},
    {"shared", [](ModelConfig& config, DecoderOptions&) {
       test::qwen2_moe_facts(config), config.moe.num_experts = 4;
     }},
    {"neox", [](ModelConfig& config, DecoderOptions& options) {
       test::gpt_neox_facts(config), config.rope.scaling = RopeScaling::kDynamic, options.recompute = true;
     }}};

INSTANTIATE_TEST_SUITE_P(Models, HostAccess,
                         testing::Combine(testing::ValuesIn(kFencedCases),
                                          testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + "_" + to_string(std::get<1>(info.param));
                         });

TEST(HostAccessDeathTest, IsSeenByTheFence) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        test::FencedMemory fenced;
        Buffer<float> buffer(8, fenced);
        buffer[0] = 1;
        fenced.close();
        run(Fill<float>{1.0f, {buffer.data(), 2, 4}});
        fprintf(stderr, "so far so good\n");
        buffer[1] = 2;
        fprintf(stderr, "the fence has a hole\n");
      },
      testing::AllOf(testing::StartsWith("so far so good\n"), testing::Not(testing::HasSubstr("a hole"))));
}

}  // namespace
}  // namespace troupe
