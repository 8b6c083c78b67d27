// Every way to freeze, on texts side by side of which a part is scored: what is trained has the gradient of central
// differences, what is frozen has none.
#include "train/freeze.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "gradient.h"
#include "model/decoder.h"
#include "model/decoder_parameters.h"
#include "train/packed_texts.h"

namespace troupe {
namespace {

class FreezeGradient : public testing::TestWithParam<Freeze> {};

TEST_P(FreezeGradient, MatchesCentralDifferencesWhereSomethingIsTrained) {
  ModelConfig config{.num_layers = 2, .d_model = 8, .num_heads = 2, .d_ff = 12, .vocab_size = 11, .context = 8};
  config.eos_id = 2, config.dropout = 0.2;
  config.moe.num_experts = 4, config.moe.expert_d_ff = 6, config.moe.aux_loss_weight = 0.3;
  const ChosenExperts chosen = {{1, {0, 2, 3}}};
  const Selection trained = trained_of(GetParam(), chosen);
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<double> params(table), grads(table, trained), ignored(table, trained);
  initialize(params, 5);
  Rng rng(6);
  for (double& value : params.all()) value += 0.1 * rng.normal();
  const std::vector<int32_t> ids = {2, 7, 5, 9, 4, 3, 8, 10, 6};
  const std::vector<TrainingText> texts = {text_of(std::span(ids).first(3), std::span(ids).subspan(3, 1), 8),
                                           text_of(std::span(ids).first(2), std::span(ids).subspan(4, 2), 8),
                                           text_of(std::span(ids).first(5), std::span(ids).subspan(5, 3), 8)};
  const std::vector<const TrainingText*> all = {&texts[0], &texts[1], &texts[2]};
  const Batch batch = pack(all, {.id = 2, .context = 8});
  ASSERT_EQ(batch.B, 2);
  Decoder<F64> decoder(config, params);
  RunMode mode;
  mode.key = 99;
  const LossSum sums = decoder.forward_backward(batch, mode, grads);
  EXPECT_EQ(sums.tokens, 6);
  const auto loss = [&] { return decoder.forward_backward(batch, mode, ignored).total; };
  int64_t held = 0;
  for (const Parameter& parameter : table.entries()) {
    SCOPED_TRACE(parameter.name);
    const auto gradient = grads.at(parameter.slot);
    EXPECT_EQ(!gradient.empty(), !trained || trained(parameter));
    if (gradient.empty() || parameter.name.ends_with("k_proj.bias")) continue;  // softmax does not feel a shift: zero
    held += parameter.size();
    test::expect_gradient(loss, params.at(parameter.slot), gradient, {.step = 1e-5, .rtol = 2e-6});
  }
  EXPECT_GT(held, 0);
}

INSTANTIATE_TEST_SUITE_P(Ways, FreezeGradient,
                         testing::Values(Freeze::kNothing, Freeze::kExperts, Freeze::kRouter, Freeze::kAllButAttention,
                                         Freeze::kAllButExperts, Freeze::kAllButChosenExperts),
                         [](const auto& info) { return std::string(name_of_enum(info.param)); });

}  // namespace
}  // namespace troupe
