// Golden checkpoints become models: settings, names, values.
#include "model/fairseq_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "error_of.h"
#include "golden.h"
#include "io/safetensors.h"
#include "model/decoder_parameters.h"
#include "model/fairseq_names.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using testing::HasSubstr;

const fs::path kModels = test::committed_fairseq();

TEST(FairseqModel, TheMoeModelHasItsRecipe) {
  const ModelConfig config = config_of(FairseqCheckpoint(kModels / "moe"));
  EXPECT_EQ(config.num_layers, 4);
  EXPECT_EQ(config.d_model, 64);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.d_ff, 256);
  EXPECT_EQ(config.vocab_size, 512);
  EXPECT_EQ(config.context, 64);
  EXPECT_EQ(config.positions, Positions::kSinusoidal);
  EXPECT_EQ(config.gelu, Gelu::kErf);
  EXPECT_TRUE(config.scale_embedding);
  EXPECT_EQ(config.dropout, 0.0);
  EXPECT_EQ(config.pad_id, 1);
  EXPECT_EQ(config.eos_id, 2);
  EXPECT_EQ(config.moe.num_experts, 8);
  EXPECT_EQ(config.moe.every, 2);
  EXPECT_EQ(config.moe.top_k, 2);
  EXPECT_EQ(config.moe.expert_d_ff, 0);
  EXPECT_EQ(config.moe.capacity, Capacity::kFairseq);
  EXPECT_EQ(config.moe.eval_capacity_fraction, 0.25);
  EXPECT_EQ(config.moe.second_choice, SecondChoice::kAll);
  EXPECT_EQ(config.moe.normalize, Normalize::kAfterDropping);
  EXPECT_FALSE(config.moe.batch_prioritized);
  EXPECT_FALSE(config.moe.pad_mask);
  EXPECT_EQ(config.moe.aux_loss_weight, 0.01);
  EXPECT_EQ(config.moe.aux_combine, AuxCombine::kSum);
  EXPECT_FALSE(config.is_moe_layer(0));
  EXPECT_TRUE(config.is_moe_layer(1));
}

TEST(FairseqModel, DenseModelsHaveTheirPositionsAndTheChosenGelu) {
  EXPECT_EQ(config_of(FairseqCheckpoint(kModels / "dense/model.pt")).moe.num_experts, 0);
  const FairseqCheckpoint learned(kModels / "dense-learned/model.pt");
  EXPECT_EQ(config_of(learned).positions, Positions::kLearned);
  EXPECT_EQ(config_of(learned).context, 12);
  EXPECT_EQ(config_of(learned, Gelu::kTanh).gelu, Gelu::kTanh);
}

// The sizes and settings of config.json are those of the checkpoint.
class Settings : public testing::TestWithParam<const char*> {};

TROUPE_GOLDEN_TEST_P(Settings, AreThoseOfTheCheckpoint) {
  const fs::path folder = test::fairseq(GetParam());
  const nlohmann::json given = read_json_file(test::present(folder / "config.json"));
  const ModelConfig config = config_of(FairseqCheckpoint(test::initial_model(folder)));
  EXPECT_EQ(config.num_layers, given.at("layers").get<int64_t>());
  EXPECT_EQ(config.d_model, given.at("d_model").get<int64_t>());
  EXPECT_EQ(config.num_heads, given.at("heads").get<int64_t>());
  EXPECT_EQ(config.d_ff, given.at("ffn").get<int64_t>());
  EXPECT_EQ(config.vocab_size, given.at("vocab").get<int64_t>());
  EXPECT_EQ(config.context, given.at("context").get<int64_t>());
  EXPECT_EQ(config.positions == Positions::kLearned, given.value("learned_positions", false));
  EXPECT_EQ(config.dropout, given.value("dropout", 0.0));
  EXPECT_EQ(config.moe.num_experts, given.at("experts").get<int64_t>());
  if (config.moe.num_experts == 0) return;
  EXPECT_EQ(config.moe.every, given.at("moe_freq").get<int64_t>());
  EXPECT_EQ(config.moe.aux_loss_weight, given.at("gate_loss_weight").get<double>());
}
INSTANTIATE_TEST_SUITE_P(FairseqModel, Settings, testing::Values("dense", "dense-learned", "moe", "moe-parallel"));

struct EveryModel : testing::TestWithParam<const char*> {};

TROUPE_GOLDEN_TEST_P(EveryModel, HasTheGoldenValuesInItsParameters) {
  const fs::path folder = test::fairseq(GetParam());
  const fs::path weights = test::only_file(folder, "after", ".safetensors");
  const fs::path trained =
      fs::exists(folder / "after-shared.pt") ? folder / "after" : test::only_file(folder, "model_after", ".pt");
  if (weights.empty() || trained.empty())
    throw test::NotInTheData("after*.safetensors and a checkpoint of it in " + folder.string());
  const FairseqCheckpoint checkpoint(trained);
  const SafetensorsFile golden(weights);
  const ParameterTable table = make_parameter_table(config_of(checkpoint));
  check_tensors(checkpoint, table);
  EXPECT_EQ(table.entries().size(), golden.tensors().size());
  for (const Parameter& parameter : table.entries()) {
    const TensorView& expected = golden.at(fairseq_name_of(parameter.name).value(), parameter.shape);
    EXPECT_EQ(troupe_name_of(expected.name), parameter.name);
    std::vector<float> values(static_cast<size_t>(parameter.size()));
    read_parameter(checkpoint, parameter, values);
    EXPECT_EQ(std::memcmp(values.data(), expected.bytes.data(), expected.bytes.size()), 0) << parameter.name;
  }
}

INSTANTIATE_TEST_SUITE_P(FairseqModel, EveryModel, testing::Values("dense", "moe-parallel"));

TEST(FairseqModel, NamesTensorAndShapesThatDoNotFit) {
  const FairseqCheckpoint checkpoint(kModels / "moe/model");
  ModelConfig config = config_of(checkpoint);
  config.d_ff = 128;
  EXPECT_THAT(error_of([&] { check_tensors(checkpoint, make_parameter_table(config)); }),
              HasSubstr("decoder.layers.0.fc1.weight: expected [128, 64] by its settings, got F32 [256, 64]"));
  config = config_of(checkpoint);
  config.moe.num_experts = 7;
  EXPECT_THAT(error_of([&] { check_tensors(checkpoint, make_parameter_table(config)); }),
              HasSubstr("decoder.layers.1.moe_layer.gate.wg.weight: expected [7, 64]"));
  config = config_of(checkpoint);
  config.num_layers = 2;
  EXPECT_THAT(error_of([&] { check_tensors(checkpoint, make_parameter_table(config)); }),
              HasSubstr("decoder.layers.2.self_attn.k_proj.weight: expected only tensors of the model"));
  config.num_layers = 6;
  EXPECT_THAT(error_of([&] { check_tensors(checkpoint, make_parameter_table(config)); }),
              HasSubstr("decoder.layers.4.self_attn_layer_norm.weight: expected [64], got no such tensor"));
}

TEST(FairseqModel, SaysThatTheExpertsAreLost) {
  // What a run of one process leaves: the shared part under a plain name.
  const test::TemporaryFolder folder;
  fs::copy_file(kModels / "moe/model-shared.pt", folder / "checkpoint_last.pt");
  EXPECT_THAT(error_of([&] { config_of(FairseqCheckpoint(folder / "checkpoint_last.pt")); }),
              HasSubstr("model.moe_expert_count: expected tensors of 8 experts, got 0 (a run of one process"));
}

TEST(FairseqNames, UnknownOnesHaveNoCounterpart) {
  EXPECT_EQ(troupe_name_of("decoder.layers.x.fc1.weight"), std::nullopt);
  EXPECT_EQ(troupe_name_of("decoder.layers.0"), std::nullopt);
  EXPECT_EQ(troupe_name_of("decoder.layers.0.other.weight"), std::nullopt);
  EXPECT_EQ(troupe_name_of("encoder.layers.0.fc1.weight"), std::nullopt);
  EXPECT_EQ(fairseq_name_of("layers.10.moe.experts.511.fc2.bias"), "decoder.layers.10.moe_layer.experts.511.fc2.bias");
}

}  // namespace
}  // namespace troupe
