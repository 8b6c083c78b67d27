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

TEST(CheckModelConfig, NamesTheFactThatDoesNotFitOthers) {
  EXPECT_EQ(error_of([](ModelConfig& c) { c.num_heads = 5, c.head_dim = 40; }), "no error");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.kv_heads = 3; }),
            "x.toml: kv_heads: expected a divisor of num_heads (4), got 3");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.positions = Positions::kRotary, c.rope.part = 0.02; }),
            "x.toml: rope.part: expected at least 2 of 48 columns of a head, got 0.02 of them");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.positions = Positions::kRotary, c.rope.scaling = RopeScaling::kYarn; }),
            "x.toml: rope.original_context: expected a context with scaling yarn, got 0");
  EXPECT_EQ(error_of([](ModelConfig& c) {
              c.positions = Positions::kRotary, c.rope.scaling = RopeScaling::kLlama3, c.rope.original_context = 8;
              c.rope.low_freq_factor = 4.0;
            }),
            "x.toml: rope.low_freq_factor: expected below high_freq_factor (4), got 4");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.positions = Positions::kRotary, c.rope.theta = 1.0; }),
            "x.toml: rope.theta: expected above 1, got 1");
  EXPECT_THAT(error_of([](ModelConfig& c) { c.norm_place = NormPlace::kAfter, c.residual_multiplier = 0.5; }),
              ::testing::HasSubstr("x.toml: residual_multiplier: expected 1 with norm_place after, got 0.5"));
  EXPECT_EQ(error_of([](ModelConfig& c) { c.norm_place = NormPlace::kAfter, c.parallel_block = true; }),
            "x.toml: parallel_block: expected false with norm_place after, got true");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.shared_norm = true; }),
            "x.toml: shared_norm: expected false without parallel_block, got true");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.moe.first_layer = 4; }),
            "x.toml: moe.first_layer: expected below 4, got 4 (no layer would be MoE)");
  EXPECT_EQ(error_of([](ModelConfig& c) { c.moe.shared_gate = true; }),
            "x.toml: moe.shared_gate: expected false without a shared expert (moe.shared_d_ff), got true");
}

TEST(CheckModelConfig, NamesWhatRoutersDoNotHave) {
  using M = MoeConfig;
  const auto of = [](void (*change)(M&)) { return error_of([&](ModelConfig& c) { change(c.moe); }); };
  const auto experts_choose = [](M& m) { m.router = RouterKind::kExpertChoice, m.normalize = Normalize::kNever; };
  EXPECT_EQ(of(experts_choose), "no error");
  EXPECT_EQ(of([](M& m) { m.router = RouterKind::kHash, m.top_k = 1; }), "no error");
  EXPECT_EQ(of([](M& m) {
              m.score = RouterScore::kSigmoid, m.balance_bias = true, m.groups = 4, m.groups_kept = 2, m.top_k = 4;
            }),
            "no error");
  EXPECT_EQ(of([](M& m) { m.router = RouterKind::kExpertChoice; }),
            "x.toml: moe.normalize: expected never, got after_dropping (moe.router is expert_choice)");
  EXPECT_EQ(of([](M& m) {
              m.router = RouterKind::kExpertChoice, m.normalize = Normalize::kNever, m.capacity = Capacity::kFairseq;
            }),
            "x.toml: moe.capacity: expected dropless, got fairseq (experts choose as many tokens as they take)");
  EXPECT_EQ(of([](M& m) { m.router = RouterKind::kHash, m.router_z_loss = 0.1; }),
            "x.toml: moe.router_z_loss: expected 0, got 0.1 (a hash has no logits)");
  EXPECT_EQ(of([](M& m) { m.router = RouterKind::kHash, m.balance_bias = true; }),
            "x.toml: moe.balance_bias: expected false, got true (moe.router is hash)");
  EXPECT_EQ(of([](M& m) { m.score = RouterScore::kSigmoid, m.router_z_loss = 0.1; }),
            "x.toml: moe.router_z_loss: expected 0, got 0.1 (it is about a softmax's sum, and moe.score is sigmoid)");
  EXPECT_EQ(of([](M& m) { m.score = RouterScore::kSigmoid, m.second_choice = SecondChoice::kRandom; }),
            "x.toml: moe.second_choice: expected all, got random (chance is for top-2 by softmax without biases and "
            "groups)");
  EXPECT_EQ(of([](M& m) { m.chance_in_eval = true; }),
            "x.toml: moe.chance_in_eval: expected false, got true (moe.second_choice is all)");
  EXPECT_EQ(of([](M& m) { m.groups = 3; }),
            "x.toml: moe.groups: expected a divisor of moe.num_experts, got 3 (moe.num_experts is 8)");
  EXPECT_EQ(of([](M& m) { m.groups = 4, m.top_k = 3; }),
            "x.toml: moe.groups_kept: expected groups with at least moe.top_k experts, got 1 (they have 2, moe.top_k is "
            "3)");
  EXPECT_EQ(of([](M& m) { m.balance_over = BalanceOver::kUpdate; }),
            "x.toml: moe.balance_choices: expected all, got first (moe.balance_over is update)");
  EXPECT_EQ(of([](M& m) { m.input_jitter = 0.1, m.router_precision = RouterOperand::kModel; }),
            "x.toml: moe.router_precision: expected fp32, got model (jitter needs it)");
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
