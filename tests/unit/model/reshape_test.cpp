// Dense models as experts and back: outputs stay where they must.
#include "model/reshape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "error_of.h"
#include "facts.h"
#include "model/decoder.h"
#include "model/decoder_parameters.h"
#include "small_model.h"

namespace troupe {
namespace {

struct Values {
  ModelConfig config;
  ParameterTable table;
  ParameterStore<float> store;

  explicit Values(const ModelConfig& config) : config(config), table(make_parameter_table(config)), store(table) {}
  ParameterSource read() const {
    return [this](const Parameter& parameter, std::span<float> out) {
      const auto values = store.at(table.find(parameter.name).slot);
      std::copy(values.begin(), values.end(), out.begin());
    };
  }
  explicit Values(const ReshapedModel& model) : Values(model.config) {
    for (const Parameter& parameter : table.entries()) model.read(parameter, store.at(parameter.slot));
  }
  std::vector<float> scores() const {
    Decoder<F32> decoder(config, store);
    const Batch batch = test::padded_batch(config, 0, 0);
    std::vector<float> nll(static_cast<size_t>(batch.tokens()));
    decoder.score(batch, {}, nll);
    return nll;
  }
};

Values dense_model(bool gated) {
  ModelConfig config = test::small_config();
  config.dropout = config.attention_dropout = 0.0;
  if (gated) test::llama_facts(config), config.ffn_bias = true;
  Values dense(config);
  initialize(dense.store, 3);
  return dense;
}

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

TEST(Upcycle, OutputsAreTheDenseModels) {
  for (const bool gated : {false, true}) {
    const Values dense = dense_model(gated);
    for (const auto& options : {Upcycling{.experts = 4, .top_k = 2}, Upcycling{.experts = 8, .top_k = 3, .every = 2},
                                Upcycling{.experts = 8, .granularity = 2, .top_k = 4},
                                Upcycling{.experts = 12, .granularity = 4, .top_k = 4}}) {
      SCOPED_TRACE(fmt::format("gated {} granularity {}", gated, options.granularity));
      const Values sparse(upcycle(dense.config, dense.read(), options, "dense"));
      EXPECT_EQ(sparse.config.num_moe_layers(), 2 / options.every);
      expect_near(sparse.scores(), dense.scores(), 2e-5);
      // Back again: with granularity 1 any expert is the FFN.
      if (options.granularity > 1 || options.every > 1) continue;
      const std::vector<std::vector<double>> use(2, {0.1, 0.2, 0.3, 0.4});
      const Values merged(make_dense(sparse.config, sparse.read(), Densify::kMerge, use, "sparse"));
      EXPECT_EQ(merged.config.d_ff, dense.config.d_ff);
      expect_near(merged.scores(), dense.scores(), 2e-5);
      const Values dropped(make_dense(sparse.config, sparse.read(), Densify::kDrop, use, "sparse"));
      EXPECT_EQ(dropped.config.d_ff, 2 * dense.config.d_ff);
      expect_near(dropped.scores(), dense.scores(), 2e-5);
    }
  }
}

TEST(Upcycle, NoiseMakesCopiesDiffer) {
  const Values dense = dense_model(false);
  const Values sparse(upcycle(dense.config, dense.read(), {.experts = 4, .noise = 0.5}, "dense"));
  const auto one = sparse.store.at("layers.0.moe.experts.0.fc1.weight");
  const auto two = sparse.store.at("layers.0.moe.experts.1.fc1.weight");
  const auto whole = dense.store.at("layers.0.ffn.fc1.weight");
  double noise = 0.0, squares = 0.0;
  for (size_t i = 0; i < whole.size(); ++i) {
    noise += std::pow(double{one[i]} - double{whole[i]}, 2), squares += double{whole[i]} * double{whole[i]};
    ASSERT_NE(one[i], two[i]);
  }
  EXPECT_NEAR(std::sqrt(noise / squares), 0.5, 0.05);
}

// The most used experts remain, each with its share of what remains.
TEST(MakeDense, KeepsTheMostUsedExperts) {
  ModelConfig config = test::small_config();
  config.moe.num_experts = 4, config.moe.every = 2, config.moe.expert_d_ff = 32;
  Values sparse(config);
  initialize(sparse.store, 5);
  const Values dense(make_dense(config, sparse.read(), Densify::kDrop, {{0.1, 0.3, 0.0, 0.6}}, "sparse"));
  const auto fc1 = dense.store.at("layers.1.ffn.fc1.weight");
  const auto most = sparse.store.at("layers.1.moe.experts.3.fc1.weight");
  EXPECT_TRUE(std::equal(most.begin(), most.end(), fc1.begin()));
  EXPECT_FLOAT_EQ(dense.store.at("layers.1.ffn.fc2.weight")[0],
                  static_cast<float>(0.6 / 0.9 * sparse.store.at("layers.1.moe.experts.3.fc2.weight")[0]));
  EXPECT_THAT(test::error_of([&] { make_dense(config, sparse.read(), Densify::kMerge, {}, "s"); }, ErrorCode::kUsage),
              testing::HasSubstr("s: --dense merge: expected experts of the width of the dense layers (64), got 4 experts "
                                 "of width 32"));
}

}  // namespace
}  // namespace troupe
