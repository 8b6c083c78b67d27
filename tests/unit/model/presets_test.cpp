#include "model/presets.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "troupe/error.h"

namespace troupe {
namespace {

// "14.6B" with as many decimals as printed.
std::string billions_like(std::string_view printed, double count) {
  const size_t dot = printed.find('.');
  const size_t decimals = dot == printed.npos ? 0 : printed.size() - dot - 2;
  return fmt::format("{:.{}f}B", count / 1e9, decimals);
}

TEST(Presets, HaveThePublishedParameterCounts) {
  for (const Preset& preset : presets()) {
    if (preset.nominal_params) continue;
    const auto count = static_cast<double>(make_parameter_table(make_config(preset)).num_parameters());
    EXPECT_EQ(billions_like(preset.published_params, count), preset.published_params) << preset.name;
  }
  // Printed as 0.125B, a size class.
  EXPECT_EQ(make_parameter_table(make_config(find_preset("dense-125m"))).num_parameters(), 124'377'600);
}

TEST(Presets, ActivateTwoExpertsPerMoeLayer) {
  // By hand: 14,605,713,408 parameters less 6 layers x 510 idle experts x (8 * 768^2 + 5 * 768).
  EXPECT_EQ(num_active_parameters(make_config(find_preset("moe-15b"))),
            int64_t{14'605'713'408} - int64_t{6} * 510 * (8 * 768 * 768 + 5 * 768));
  const ModelConfig dense = make_config(find_preset("dense-355m"));
  EXPECT_EQ(num_active_parameters(dense), make_parameter_table(dense).num_parameters());
}

TEST(Presets, PassTheRulesAcrossFields) {
  for (const Preset& preset : presets()) EXPECT_NO_THROW(check(make_config(preset), std::string(preset.name)));
}

TEST(Presets, NameTheNearest) {
  try {
    find_preset("moe-15g");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("got moe-15g (did you mean moe-15b?)"));
  }
}

TEST(Flops, FollowTheClosedForms) {
  ModelConfig config = make_config(find_preset("dense-1.3b"));
  const double l = 24, h = 2048, s = 1024, V = 51200;
  const double dense = 72 * l * h * h * (1 + s / (6 * h) + V / (12 * l * h));
  EXPECT_DOUBLE_EQ(train_flops_per_token(config, 1024), dense);
  EXPECT_DOUBLE_EQ(train_flops_per_token(config, 1024, {.recompute = true, .router = true, .vocab_size = 50000}),
                   96 * l * h * h * (1 + s / (6 * h) + 50000 / (16 * l * h)));
  config.moe.num_experts = 64;
  EXPECT_DOUBLE_EQ(train_flops_per_token(config, 1024, {.recompute = false, .router = false, .vocab_size = 0}),
                   dense + 24 * l * h * h);
  EXPECT_DOUBLE_EQ(train_flops_per_token(config, 1024), dense + 24 * l * h * h + 3 * 12 * 2 * h * 64);
}

TEST(Flops, CountExpertWidthFrequencyAndChoices) {
  ModelConfig config;  // 4 layers, D 192, F 768
  config.moe.num_experts = 16;
  config.moe.expert_d_ff = 384;
  ForwardFlops flops = forward_flops_per_token(config, 256);
  EXPECT_EQ(flops.experts, 2 * 2 * 4 * 192 * 384);  // two layers, two experts of half width: a dense FFN's work
  EXPECT_EQ(flops.dense_ffn, 2 * 4 * 192 * 768);
  EXPECT_EQ(flops.experts, flops.dense_ffn);
  config.moe.every = 4;
  config.moe.top_k = 3;
  flops = forward_flops_per_token(config, 256);
  EXPECT_EQ(flops.experts, 1 * 3 * 4 * 192 * 384);
  EXPECT_EQ(flops.dense_ffn, 3 * 4 * 192 * 768);
}

}  // namespace
}  // namespace troupe
