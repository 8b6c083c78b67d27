#include "train/model_facts.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/atomic_file.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "model/model_directory.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

TEST(ModelFactsOf, TakeTokensFromTheFolderUnlessTheyAreGiven) {
  const test::TemporaryFolder folder;
  ModelConfig config;
  config.num_layers = 2, config.d_model = 8, config.num_heads = 2, config.d_ff = 8, config.vocab_size = 11;
  config.context = 4, config.moe.num_experts = 3;
  write_model(folder.path(), config, ParameterStore<float>(make_parameter_table(config)));

  const std::string model = folder.path().string();
  const ModelFacts unknown = model_facts(model, config, 0);
  EXPECT_EQ(unknown.params, make_parameter_table(config).num_parameters());
  EXPECT_LT(unknown.active_params, unknown.params);
  EXPECT_EQ(unknown.experts, 3);
  EXPECT_TRUE(std::isnan(unknown.train_tokens));
  EXPECT_TRUE(unknown.provenance->date.empty());

  write_file_atomically(folder / "train_state.json", "{\"tokens\": 640}");
  EXPECT_EQ(model_facts(model, config, 0).train_tokens, 640);
  const ModelFacts given = model_facts(model, config, 1000);
  EXPECT_EQ(given.train_tokens, 1000);
  EXPECT_EQ(given.train_flops, 1000 * train_flops_per_token(config, config.context));
}

}  // namespace
}  // namespace troupe
