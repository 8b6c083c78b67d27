#include "model/model_directory.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "io/json_file.h"
#include "model/decoder_parameters.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

ModelConfig small_config() {
  ModelConfig config;
  config.num_layers = 2;
  config.d_model = 8;
  config.num_heads = 2;
  config.d_ff = 16;
  config.vocab_size = 20;
  config.context = 8;
  config.positions = Positions::kLearned;
  config.gelu = Gelu::kTanh;
  config.moe.num_experts = 3;
  config.moe.capacity = Capacity::kFairseq;
  config.moe.eval_capacity_fraction = -1;
  return config;
}

struct ModelDirectory : testing::Test {
  const ModelConfig config = small_config();
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<float> params{table};
  const TemporaryFolder folder;

  void SetUp() override { initialize(params, 3); }
  void expect_equal(const ParameterStore<float>& other) const {
    for (const Parameter& parameter : table.entries())
      EXPECT_EQ(std::memcmp(params.at(parameter.slot).data(), other.at(parameter.slot).data(),
                            params.at(parameter.slot).size_bytes()),
                0)
          << parameter.name;
  }
};

TEST_F(ModelDirectory, ReadsBackConfigAndParameters) {
  write_model(folder.path(), config, params);
  EXPECT_EQ(config_json(read_model_config(folder.path())), config_json(config));
  ParameterStore<float> loaded(table);
  load_parameters(folder.path(), loaded);
  expect_equal(loaded);
  const auto model = load_model(folder.path(), Precision::kFp32);
  expect_equal(model->params());
}

TEST_F(ModelDirectory, ShardsAreOneModel) {
  write_model(folder.path(), config, params, {.max_shard_bytes = 2000});
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  const auto index = read_json_file(folder / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 4 * table.num_parameters());
  EXPECT_EQ(index["weight_map"].size(), table.entries().size());
  EXPECT_GT(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 4);
  ParameterStore<float> loaded(table);
  load_parameters(folder.path(), loaded);
  expect_equal(loaded);

  EXPECT_TRUE(has_weights(folder.path()));
  EXPECT_EQ(model_files(folder.path()).size(),
            static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator())));

  const std::string last = index["weight_map"]["final_norm.bias"];
  fs::rename(folder / last, folder / "hidden");
  EXPECT_THAT(error_of([&] { load_parameters(folder.path(), loaded); }), HasSubstr(last));
  const std::string first = index["weight_map"]["embed_tokens.weight"];
  fs::copy(folder / first, folder / last);
  EXPECT_THAT(error_of([&] { load_parameters(folder.path(), loaded); }),
              AllOf(HasSubstr(last), HasSubstr("one that it does not")));
}

TEST_F(ModelDirectory, RefusesWeightsThatAreNotFinite) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    params.at("final_norm.bias")[3] = value;
    write_model(folder.path(), config, params);
    EXPECT_THAT(error_of([&] { load_model(folder.path(), Precision::kFp32); }, ErrorCode::kData),
                HasSubstr(fmt::format("final_norm.bias: expected finite weights, got {} at index 3", value)));
  }
}

// A dense and a sparse layer, q, k and v in one product, matrices narrower than any block of a kernel.
TEST_F(ModelDirectory, AModelForUseScoresAsOneForTraining) {
  write_model(folder.path(), config, params);
  std::vector<int32_t> src, tgt;
  for (int32_t t = 0; t < 16; ++t) src.push_back(4 + t % 7), tgt.push_back(4 + t % 5);
  const Batch batch{.B = 2, .S = 8, .src = src, .tgt = tgt};
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    LanguageModel training(config, precision);
    load_parameters(folder.path(), training);
    expect_equal(training.params());
    const auto model = load_model(folder.path(), precision);
    const bool packed = precision == Precision::kBf16 ? LinearBank<Bf16>::can_be_packed() : false;
    for (const Parameter& parameter : table.entries())
      EXPECT_EQ(model->params().at(parameter.slot).empty(), packed && parameter.product) << parameter.name;
    std::vector<float> wanted(16), got(16);
    training.score(batch, {}, wanted);
    model->score(batch, {}, got);
    EXPECT_EQ(got, wanted) << to_string(precision);
    if (!packed) continue;
    ParameterStore<float> grads(table);
    EXPECT_THAT(error_of([&] { model->forward_backward(batch, {}, grads); }, ErrorCode::kInternal),
                HasSubstr("expected one for training, got one for inference"));
    params.at("layers.1.moe.experts.2.fc2.weight")[5] = std::numeric_limits<float>::infinity();
    write_model(folder.path(), config, params);
    EXPECT_THAT(error_of([&] { load_model(folder.path(), precision); }, ErrorCode::kData),
                HasSubstr("layers.1.moe.experts.2.fc2.weight: expected finite weights, got inf at index 5"));
  }
}

TEST_F(ModelDirectory, NamesTheTensorThatDoesNotFit) {
  write_model(folder.path(), config, params);
  ModelConfig wider = config;
  wider.d_ff = 24;
  const ParameterTable wide_table = make_parameter_table(wider);
  ParameterStore<float> wide(wide_table);
  EXPECT_THAT(
      error_of([&] { load_parameters(folder.path(), wide); }),
      AllOf(HasSubstr("model.safetensors: layers.0.ffn.fc1.weight: expected [24, 8] (by config.json), got F32 [16, 8]"),
            HasSubstr("more tensors that do not fit")));
  ModelConfig deeper = config;
  deeper.num_layers = 4;
  const ParameterTable deep_table = make_parameter_table(deeper);
  ParameterStore<float> deep(deep_table);
  EXPECT_THAT(error_of([&] { load_parameters(folder.path(), deep); }),
              HasSubstr("layers.2.attn_norm.weight: expected F32 [8], got no such tensor"));
  ModelConfig shallower = config;
  shallower.num_layers = 1;
  shallower.moe.num_experts = 0;
  const ParameterTable shallow_table = make_parameter_table(shallower);
  ParameterStore<float> shallow(shallow_table);
  EXPECT_THAT(error_of([&] { load_parameters(folder.path(), shallow); }),
              HasSubstr("layers.1.attn_norm.weight: expected only tensors of the model of config.json"));
}

TEST_F(ModelDirectory, RefusesForeignAndBrokenConfigs) {
  const auto refusal = [&](const std::string& text) {
    write_file_atomically(folder / "config.json", text);
    return error_of([&] { read_model_config(folder.path()); });
  };
  EXPECT_THAT(refusal(R"({"architectures": ["LlamaForCausalLM"]})"), HasSubstr("(or a model_type of Hugging Face), got none"));
  EXPECT_THAT(refusal(R"({"format": "troupe.model/2"})"), HasSubstr("format: expected \"troupe.model/1\""));
  EXPECT_THAT(refusal(R"({"format": "troupe.model/1", "d_modle": 8})"), HasSubstr("did you mean d_model?"));
  EXPECT_THAT(refusal(R"({"format": "troupe.model/1", "num_heads": 5})"), HasSubstr("num_heads: expected a divisor"));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
  EXPECT_EQ(refusal(config_json(config)), "");
}

TEST_F(ModelDirectory, FindsTheNewestCheckpointOfARun) {
  EXPECT_THAT(error_of([&] { find_model(folder.path()); }), HasSubstr("expected a model (config.json and"));
  EXPECT_THAT(error_of([&] { find_model(folder / "none"); }), HasSubstr("nothing of this name"));
  for (const int64_t step : {10, 20}) {
    CheckpointWriter writer(folder / "checkpoints", step);
    writer.add_tensors("model.safetensors", tensors_of(params));
    writer.add_file("config.json", [&](FileWriter& file) { file.write(config_json(config)); });
    writer.commit();
  }
  EXPECT_EQ(find_model(folder.path()), folder / "checkpoints/step-00000020");
  EXPECT_EQ(find_model(folder / "checkpoints"), folder / "checkpoints/step-00000020");
  expect_equal(load_model(folder.path(), Precision::kFp32)->params());
}

}  // namespace
}  // namespace troupe
