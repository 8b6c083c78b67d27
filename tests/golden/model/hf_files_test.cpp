// Files of Hugging Face's models as they may lie in a folder: in shards, in bf16, as torch wrote them, with tensors of older
// releases; what messages say of those that are not read, and which family a model is written as.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/safetensors.h"
#include "model/decoder_parameters.h"
#include "model/hf/hf_model.h"
#include "model/hf/hf_write.h"
#include "model/model_directory.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// Shards with an index, and what messages say, on the smallest family.
struct HfFiles : testing::Test {
  const fs::path source = fs::path(TROUPE_TEST_DATA) / "golden" / "hf-small" / "llama";
  const test::TemporaryFolder folder;

  nlohmann::json settings() const { return read_json_file(source / "config.json"); }
  std::string refusal(const nlohmann::json& config) const {
    write_json_file(folder.path() / "config.json", config);
    return test::error_of([&] { read_model_config(folder.path()); }, ErrorCode::kData);
  }
};

TEST_F(HfFiles, InShardsAreTheSame) {
  const ModelConfig config = read_model_config(source);
  const ParameterTable table = make_parameter_table(config);
  const OpenParameters parameters = open_parameters(source, table);
  write_hf_model(folder.path(), config, hf_family_for(config, "llama"), parameters.read, {.max_shard_bytes = 20000});
  EXPECT_TRUE(fs::exists(folder.path() / "model.safetensors.index.json"));
  ParameterStore<float> whole(table), parts(table);
  load_parameters(source, whole);
  load_parameters(folder.path(), parts);
  EXPECT_TRUE(std::ranges::equal(std::as_const(whole).all(), std::as_const(parts).all()));
}

TEST_F(HfFiles, OfBf16AreThatTypeAndRounded) {
  const ModelConfig config = read_model_config(source);
  const ParameterTable table = make_parameter_table(config);
  write_hf_model(folder.path(), config, hf_family_for(config, "auto"), open_parameters(source, table).read,
                 {.dtype = DType::kBf16});
  const SafetensorsFile file(folder.path() / "model.safetensors");
  EXPECT_EQ(file.at("model.norm.weight").dtype, DType::kBf16);
  ParameterStore<float> exact(table), rounded(table);
  load_parameters(source, exact);
  load_parameters(folder.path(), rounded);
  const std::span<const float> wide = std::as_const(exact).all(), narrow = std::as_const(rounded).all();
  for (size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(narrow[i], static_cast<float>(bf16(wide[i]))) << i;
}

// Files by tools/make_torch_test_files.py, as releases before safetensors wrote them.
struct HfTorchFiles : testing::Test {
  void take(const std::string& name) const {
    fs::copy(fs::path(TROUPE_TEST_DATA) / "torch" / name, folder.path());
    fs::copy_file(source(name) / "config.v4.json", folder.path() / "config.json");
  }
  static fs::path source(const std::string& name) {
    return fs::path(TROUPE_TEST_DATA) / "golden" / "hf-small" / name;
  }
  std::string refusal() const {
    return test::error_of([&] { open_parameters(folder.path(), make_parameter_table(read_model_config(folder.path()))); },
                          ErrorCode::kData);
  }
  const test::TemporaryFolder folder;
};

TEST_F(HfTorchFiles, InShardsAreTheSameHoweverOftenTheyAreRead) {
  take("gpt2");
  EXPECT_TRUE(has_weights(folder.path()));
  EXPECT_EQ(model_files(folder.path()).size(), 4u);  // two shards, index, configuration
  const ParameterTable table = make_parameter_table(read_model_config(folder.path()));
  ParameterStore<float> expected(table);
  load_parameters(source("gpt2"), expected);
  const OpenParameters parameters = open_parameters(folder.path(), table);
  for (int time = 0; time < 2; ++time)
    for (const Parameter& parameter : table.entries()) {
      std::vector<float> values(static_cast<size_t>(parameter.size()));
      parameters.read(parameter, values);
      EXPECT_TRUE(std::ranges::equal(values, std::as_const(expected).at(parameter.slot))) << parameter.name;
    }
}

TEST_F(HfTorchFiles, OfBf16AreTheRoundedOnes) {
  take("qwen3");
  const ParameterTable table = make_parameter_table(read_model_config(folder.path()));
  ParameterStore<float> exact(table), rounded(table);
  load_parameters(source("qwen3"), exact);
  load_parameters(folder.path(), rounded);
  const std::span<const float> wide = std::as_const(exact).all(), narrow = std::as_const(rounded).all();
  for (size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(narrow[i], static_cast<float>(bf16(wide[i]))) << i;
  fs::copy_file(source("qwen3") / "model.safetensors", folder.path() / "model.safetensors");  // is preferred
  load_parameters(folder.path(), rounded);
  EXPECT_TRUE(std::ranges::equal(wide, narrow));
}

TEST_F(HfTorchFiles, AreRefusedByName) {
  take("gpt2");
  fs::remove(folder.path() / "pytorch_model-00002-of-00002.bin");
  EXPECT_THAT(refusal(), testing::HasSubstr("pytorch_model-00002-of-00002.bin: "));
  fs::copy_file(folder.path() / "pytorch_model-00001-of-00002.bin", folder.path() / "pytorch_model-00002-of-00002.bin");
  EXPECT_THAT(refusal(), testing::HasSubstr("00002.bin: lm_head.weight: expected a tensor that "
                                            "pytorch_model.bin.index.json places here"));
  fs::remove(folder.path() / "pytorch_model.bin.index.json");
  EXPECT_THAT(refusal(), testing::HasSubstr("expected one of model.safetensors, model.safetensors.index.json, "
                                            "pytorch_model.bin, pytorch_model.bin.index.json, got none"));
  const fs::path bin = folder.path() / "pytorch_model.bin";
  fs::copy_file(fs::path(TROUPE_TEST_DATA) / "torch" / "layouts.pt", bin);
  EXPECT_THAT(refusal(), testing::HasSubstr("pytorch_model.bin: model: expected a tensor, got a dict"));
  write_file_atomically(bin, std::string("no zip"));
  EXPECT_THAT(refusal(), testing::HasSubstr("pytorch_model.bin: "));
}

TEST_F(HfFiles, NameWhatIsMissing) {
  nlohmann::json config = settings();
  for (const auto& [family, missing] : {std::pair{"deepseek_v2", "attention through a latent vector (MLA))"},
                                        {"deepseek_v3", "attention through a latent vector (MLA))"},
                                        {"gpt_oss", "attention sinks, clamped gates and a bias of the router)"}}) {
    config["model_type"] = family;
    EXPECT_THAT(refusal(config), testing::HasSubstr("model_type: expected one of gpt2, opt, xglm"));
    EXPECT_THAT(refusal(config), testing::HasSubstr(std::string("(this decoder has no ") + missing));
  }
  config = settings();
  config["rope_parameters"] = {{"rope_type", "longrope"}, {"rope_theta", 1e4}};
  EXPECT_THAT(refusal(config), testing::HasSubstr("rope_type: expected one of default, linear, dynamic, llama3, yarn, "
                                                  "got \"longrope\""));
  config = settings();
  config["hidden_act"] = "tanh";
  EXPECT_THAT(refusal(config), testing::HasSubstr("hidden_act: expected one of gelu"));
  config = settings();
  config["num_key_value_heads"] = 3;
  EXPECT_THAT(refusal(config), testing::HasSubstr("kv_heads: expected a divisor of num_heads (4), got 3"));
  config = settings();
  config["num_attention_heads"] = 0;
  EXPECT_THAT(refusal(config), testing::HasSubstr("num_attention_heads: expected at least 1, got 0"));
  config = settings();
  config["hidden_size"] = "32";
  EXPECT_THAT(refusal(config), testing::HasSubstr("hidden_size: expected a whole number, got \"32\""));
  config = settings();
  config.erase("intermediate_size");
  EXPECT_THAT(refusal(config), testing::HasSubstr("intermediate_size: expected a whole number, got none"));
  config = settings();
  config["quantization_config"] = {{"bits", 4}};
  EXPECT_THAT(refusal(config), testing::HasSubstr("quantization_config: expected none"));
  config = settings();
  config["model_type"] = "qwen2", config["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_THAT(refusal(config), testing::HasSubstr("layer_types: expected full attention in the first layers"));
}

TEST_F(HfFiles, MissATensorOrHaveOneTooMany) {
  fs::copy_file(source / "model.safetensors", folder.path() / "model.safetensors");
  nlohmann::json config = settings();
  config["attention_bias"] = true;
  write_json_file(folder.path() / "config.json", config);
  const auto load = [&] {
    ParameterTable table = make_parameter_table(read_model_config(folder.path()));
    open_parameters(folder.path(), table);
  };
  EXPECT_THAT(test::error_of(load, ErrorCode::kData),
              testing::HasSubstr("model.layers.0.self_attn.q_proj.bias: expected [32], got no such tensor"));
  config["attention_bias"] = false, config["num_hidden_layers"] = 1;
  write_json_file(folder.path() / "config.json", config);
  EXPECT_THAT(test::error_of(load, ErrorCode::kData),
              testing::HasSubstr("expected only tensors of the model of config.json, got F32"));
  config["num_hidden_layers"] = 2, config["intermediate_size"] = 57;
  write_json_file(folder.path() / "config.json", config);
  EXPECT_THAT(test::error_of(load, ErrorCode::kData),
              testing::HasSubstr("mlp.gate_proj.weight: expected [57, 32] (by config.json), got F32 [56, 32]"));
}

TEST_F(HfFiles, MayHoldWhatOlderReleasesStoredAlthoughItIsComputed) {
  const SafetensorsFile file(source / "model.safetensors");
  write_json_file(folder.path() / "config.json", settings());
  const float value = 1.0f;
  const auto load_with = [&](const char* name) {
    std::vector<TensorToWrite> tensors = {{name, DType::kF32, {1}, &value}};
    for (const TensorView& tensor : file.tensors())
      tensors.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes.data()});
    write_safetensors(folder.path() / "model.safetensors", tensors);
    open_parameters(folder.path(), make_parameter_table(read_model_config(folder.path())));
  };
  for (const char* const name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "transformer.h.0.attn.bias",
                                 "gpt_neox.layers.0.attention.masked_bias", "model.embed_positions.weights"})
    EXPECT_NO_THROW(load_with(name)) << name;
  EXPECT_THAT(test::error_of([&] { load_with("model.embed_position.weights"); }, ErrorCode::kData),
              testing::HasSubstr("model.embed_position.weights: expected only tensors of the model"));
}

TEST(HfFamily, IsChosenByFactsAndRefusesByName) {
  ModelConfig config;
  config.scale_embedding = false, config.positions = Positions::kLearned;
  EXPECT_EQ(hf_family_for(config, "auto").model_type, "gpt2");
  config.positions = Positions::kSinusoidal;
  EXPECT_EQ(hf_family_for(config, "auto").model_type, "xglm");
  config.activation = FfnActivation::kRelu2, config.qkv_bias = false;
  EXPECT_THAT(test::error_of([&] { hf_family_for(config, "auto"); }, ErrorCode::kUsage),
              testing::HasSubstr("qkv_bias: false in the model, true in xglm (the nearest is xglm)"));
  EXPECT_THAT(test::error_of([&] { hf_family_for(config, "llama"); }, ErrorCode::kUsage),
              testing::HasSubstr("--to hf: expected a model that the family llama can say, got positions: \"sinusoidal\" in the "
                                 "model, \"rotary\" in llama"));
  EXPECT_THAT(test::error_of([&] { hf_family_for(config, "lama"); }, ErrorCode::kUsage),
              testing::HasSubstr("--family: expected auto or one of gpt2"));
}

}  // namespace
}  // namespace troupe
