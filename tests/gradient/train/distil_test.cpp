// A dense model that learns from a sparse one: its gradient is that of central differences, and at temperature 1 with
// alpha 1 a teacher that is the model itself leaves none.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "gradient.h"
#include "model/decoder.h"
#include "model/decoder_parameters.h"

namespace troupe {
namespace {

ModelConfig dense_config() {
  return {.num_layers = 2, .d_model = 8, .num_heads = 2, .d_ff = 6, .vocab_size = 11, .context = 6};
}

ParameterStore<double> values_of(const ParameterTable& table, uint64_t seed) {
  ParameterStore<double> params(table);
  initialize(params, seed);
  Rng rng(seed + 1);
  for (double& value : params.all()) value += 0.1 * rng.normal();
  return params;
}

Batch some_batch() {
  Batch batch{.B = 2, .S = 6};
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(static_cast<int32_t>(7 * i % 11));
    batch.tgt.push_back(static_cast<int32_t>(i % 4 == 1 ? -1 : (5 * i + 3) % 11));
  }
  return batch;
}

TEST(DistilGradient, OfADenseModelMatchesCentralDifferences) {
  ModelConfig sparse = dense_config();
  sparse.d_model = 12, sparse.num_layers = 1;
  sparse.moe.num_experts = 3, sparse.moe.expert_d_ff = 5;
  const ParameterTable table = make_parameter_table(dense_config()), of_teacher = make_parameter_table(sparse);
  ParameterStore<double> params = values_of(table, 5), teacher_params = values_of(of_teacher, 15);
  Decoder<F64> model(dense_config(), params), teacher(sparse, teacher_params);
  const Batch batch = some_batch();
  const LossSum alone = model.score(batch, {});
  model.learn_from(teacher, {.alpha = 0.7, .temperature = 2.0});
  ParameterStore<double> grads(table), ignored(table);
  const LossSum loss = model.forward_backward(batch, {}, grads);
  EXPECT_NEAR(loss.nll, alone.nll, 1e-12);
  EXPECT_GT(loss.divergence, 0.0);
  EXPECT_NEAR(loss.total, 0.3 * loss.nll + 0.7 * loss.divergence, 1e-12);
  for (const Parameter& parameter : table.entries()) {
    if (parameter.name.ends_with("k_proj.bias")) continue;  // softmax does not feel a shift: zero
    SCOPED_TRACE(parameter.name);
    test::expect_gradient([&] { return model.forward_backward(batch, {}, ignored).total; }, params.at(parameter.slot),
                          std::as_const(grads).at(parameter.slot), {.step = 1e-5, .rtol = 3e-6});
  }
}

TEST(DistilGradient, OfItselfIsNone) {
  const ParameterTable table = make_parameter_table(dense_config());
  ParameterStore<double> params = values_of(table, 5), grads(table);
  Decoder<F64> model(dense_config(), params), teacher(dense_config(), params);
  model.learn_from(teacher, {.alpha = 1.0, .temperature = 1.0});
  const LossSum loss = model.forward_backward(some_batch(), {}, grads);
  EXPECT_NEAR(loss.divergence, 0.0, 1e-12);
  EXPECT_NEAR(loss.total, 0.0, 1e-10);
  for (const double value : grads.all()) EXPECT_NEAR(value, 0.0, 1e-12);
}

}  // namespace
}  // namespace troupe
