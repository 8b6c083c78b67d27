// Adapters of every kind of matrix: A and B have the gradient of central differences through the merged weights, or
// with a dropout of their inputs through the products beside them, and what is not adapted has none.
#include "nn/lora.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "gradient.h"
#include "model/decoder.h"
#include "model/decoder_parameters.h"
#include "model/decoder_weights.h"
#include "train/lora_config.h"

namespace troupe {
namespace {

struct LoraCase {
  const char* name;
  std::vector<std::string> targets;
  bool gated;
  int64_t kv_heads;
  double dropout = 0.0;
};

class LoraGradient : public testing::TestWithParam<LoraCase> {};

TEST_P(LoraGradient, MatchesCentralDifferences) {
  const LoraCase& given = GetParam();
  ModelConfig config{.num_layers = 2, .d_model = 8, .num_heads = 2, .d_ff = 6, .vocab_size = 11, .context = 6};
  config.ffn_gated = given.gated, config.kv_heads = given.kv_heads;
  config.moe.num_experts = 3, config.moe.expert_d_ff = 5, config.moe.aux_loss_weight = 0.3;
  config.moe.shared_d_ff = 4;
  const ParameterTable table = make_parameter_table(config);
  check_lora({.rank = 2, .dropout = given.dropout, .targets = given.targets}, table, "x");
  const LoraParameters adapters = make_lora_parameters(table, lora_targets(given.targets), 2);
  ASSERT_FALSE(adapters.targets.empty());
  ParameterStore<double> params(table);
  initialize(params, 5);
  Rng rng(6);
  for (double& value : params.all()) value += 0.1 * rng.normal();
  Lora<F64> lora(adapters, 1.5, params, {}, given.dropout);
  for (double& value : lora.values().all()) value = 0.3 * rng.normal();
  ParameterStore<double> none(table, [](const Parameter&) { return false; }), grads(adapters.table);
  Batch batch{.B = 2, .S = 6};
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(static_cast<int32_t>(7 * i % 11));
    batch.tgt.push_back(static_cast<int32_t>((5 * i + 3) % 11));
  }
  Decoder<F64> decoder(config, params);
  lora.merge(params);
  lora.attach(decoder.weights(), grads);
  for (int pass = 0; pass < 2; ++pass) decoder.forward_backward(batch, {}, none);  // sums over an update
  ParameterStore<double> elsewhere(adapters.table);
  lora.attach(decoder.weights(), elsewhere);
  for (double& value : grads.all()) value /= 2;
  const auto loss = [&] {
    lora.merge(params);
    return decoder.forward_backward(batch, {}, none).total;
  };
  for (const Parameter& parameter : adapters.table.entries()) {
    SCOPED_TRACE(parameter.name);
    const auto gradient = std::as_const(grads).at(parameter.slot);
    test::expect_gradient(loss, lora.values().at(parameter.slot), gradient, {.step = 1e-5, .rtol = 3e-6});
  }
  lora.detach(decoder.weights());
}

INSTANTIATE_TEST_SUITE_P(Targets, LoraGradient,
                         testing::Values(LoraCase{"QueriesAndValues", {"q_proj", "v_proj"}, false, 1},
                                         LoraCase{"Attention", {"q_proj", "k_proj", "v_proj", "o_proj"}, false, 0},
                                         LoraCase{"Ffn", {"up_proj", "down_proj"}, false, 0},
                                         LoraCase{"GatedFfn", {"gate_proj", "up_proj", "down_proj"}, true, 0},
                                         LoraCase{"Experts", {"experts"}, false, 0},
                                         LoraCase{"GatedExperts", {"experts"}, true, 0},
                                         LoraCase{"Router", {"router"}, false, 0},
                                         LoraCase{"DroppedQueriesAndValues", {"q_proj", "v_proj"}, false, 1, 0.4},
                                         LoraCase{"DroppedKeysAndOutputs", {"k_proj", "o_proj"}, false, 0, 0.4},
                                         LoraCase{"DroppedFfn", {"up_proj", "down_proj"}, false, 0, 0.4},
                                         LoraCase{
                                             "DroppedGatedFfn", {"gate_proj", "up_proj", "down_proj"}, true, 0, 0.4}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace troupe
