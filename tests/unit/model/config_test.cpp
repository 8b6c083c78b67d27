#include "troupe/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "troupe/error.h"

namespace troupe {
namespace {

std::string error_of(const std::function<void(ModelConfig&)>& change) {
  ModelConfig config;
  config.moe.num_experts = 8;
  change(config);
  try {
    check(config, "x.toml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return "no error";
}

TEST(CheckModelConfig, AcceptsDefaultsAndTopOne) {
  EXPECT_EQ(error_of([](ModelConfig&) {}), "no error");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.moe.top_k = 1, c.moe.normalize = Normalize::kNever; }), "no error");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.moe.top_k = 1, c.moe.num_experts = 1; }), "no error");
}

TEST(CheckModelConfig, NamesTheFieldThatBreaksARule) {
  EXPECT_EQ(error_of([](ModelConfig& c) { c.num_heads = 5; }),
            "x.toml: num_heads: expected a divisor of d_model (192), got 5");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.d_model = 3, c.num_heads = 1; }),
            "x.toml: d_model: expected at least 4 with sinusoidal positions, got 3");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.d_model = 3, c.num_heads = 1, c.positions = Positions::kLearned; }),
            "no error");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.pad_id = 4096; }),
            "x.toml: pad_id: expected an id below vocab_size (4096), got 4096");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.eos_id = 4096; }),
            "x.toml: eos_id: expected an id below vocab_size (4096), got 4096");
  EXPECT_THAT(error_of([](ModelConfig& c) { c.pad_id = 0; }), ::testing::HasSubstr("x.toml: pad_id: expected another"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.moe.pad_mask = true; }),
              ::testing::HasSubstr("x.toml: moe.pad_mask: expected a pad_id, got -1"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.moe.every = 5; }),
              ::testing::HasSubstr("x.toml: moe.every: expected at most num_layers (4), got 5"));
  EXPECT_EQ(error_of([](ModelConfig& c) { c.moe.top_k = 9; }),
            "x.toml: moe.top_k: expected at most moe.num_experts (8), got 9");
  EXPECT_THAT(error_of([](ModelConfig& c) { c.moe.top_k = 4, c.moe.second_choice = SecondChoice::kRandom; }),
              ::testing::HasSubstr("x.toml: moe.second_choice: expected all with moe.top_k 4, got random"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.moe.top_k = 1; }),
              ::testing::HasSubstr("x.toml: moe.normalize: expected never with moe.top_k 1, got after_dropping"));
  EXPECT_THAT(error_of([](ModelConfig& c) {
                c.moe.top_k = 1, c.moe.normalize = Normalize::kNever, c.moe.capacity = Capacity::kFairseq;
                c.moe.capacity_factor = 0;
              }),
              ::testing::HasSubstr("x.toml: moe.capacity_factor: expected a number above 0"));
}

TEST(CheckModelConfig, LeavesMoeRulesAloneInADenseModel) {
  EXPECT_EQ(error_of([](ModelConfig& c) { c.moe.num_experts = 0, c.moe.every = 99; }), "no error");
}

}  // namespace
}  // namespace troupe
