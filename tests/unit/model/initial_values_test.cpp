// What [model.init] says of the values that training begins with.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/decoder_parameters.h"

namespace troupe {
namespace {

ModelConfig model(const InitConfig& init) {
  ModelConfig config{.num_layers = 2, .d_model = 64, .num_heads = 2, .d_ff = 96, .vocab_size = 50, .context = 8};
  config.moe.num_experts = 3, config.tied_output = false, config.init = init;
  return config;
}

double deviation(std::span<const float> values) {
  double squares = 0.0;
  for (const float value : values) squares += double{value} * double{value};
  return std::sqrt(squares / static_cast<double>(values.size()));
}

// Calls check(parameter, values) for every parameter of the model.
template <class Check>
void each_parameter(const InitConfig& init, const Check& check) {
  const ParameterTable table = make_parameter_table(model(init));
  ParameterStore<float> params(table);
  initialize(params, 3);
  for (const Parameter& parameter : table.entries()) {
    SCOPED_TRACE(parameter.name);
    check(parameter, std::as_const(params).at(parameter.slot));
  }
}

bool is_zero(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return value == 0.0f; });
}

TEST(InitialValues, NormalMatricesAndNoBiases) {
  each_parameter({.kind = InitKind::kNormal, .std = 0.05, .embedding_std = 0.7}, [](const Parameter& p, auto values) {
    const bool table = p.name == "embed_tokens.weight" || p.name == "output.weight";
    if (p.shape.size() == 2)
      EXPECT_NEAR(deviation(values) / (table ? 0.7 : 0.05), 1.0, 0.1);
    else if (p.name.ends_with("norm.weight"))
      EXPECT_EQ(*std::ranges::min_element(values), 1.0f);
    else
      EXPECT_TRUE(is_zero(values));
  });
}

TEST(InitialValues, LastMatricesOfBlocksMayStartAtZero) {
  each_parameter({.zero_outputs = true}, [](const Parameter& p, auto values) {
    const bool last = p.name.find("out_proj") != p.name.npos || p.name.find("fc2") != p.name.npos;
    const bool zero_anyway = p.name.ends_with("norm.bias");
    EXPECT_EQ(is_zero(values), last || zero_anyway);
  });
}

TEST(InitialValues, OfGatedNetworksAreTwoMatrices) {
  ModelConfig config = model({});
  for (const bool gated : {false, true}) {
    config.ffn_gated = gated;
    for (const Parameter& parameter : make_parameter_table(config).entries())
      EXPECT_EQ(parameter.stacked, gated && parameter.name.ends_with("fc1.weight") ? 2 : 1) << parameter.name;
  }
}

}  // namespace
}  // namespace troupe
