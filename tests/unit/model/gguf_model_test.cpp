// Models in GGUF files: those laid out as llama.cpp's converter does (tests/data/gguf), and what is written.
#include "model/gguf/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/fields.h"
#include "io/json_file.h"
#include "model/convert.h"
#include "model/decoder_parameters.h"
#include "model/gguf/gguf_write.h"
#include "model/hf/hf_model.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

const fs::path kData = TROUPE_TEST_DATA;

fs::path hf_folder(const std::string& name) { return kData / "golden/hf-small" / name; }
fs::path gguf_file(const std::string& name) { return kData / "gguf" / ("model-" + name + ".gguf"); }

// Every parameter of two sources, to the bit.
template <class A, class B>
void expect_equal(const A& a, const B& b, const ModelConfig& config) {
  for (const Parameter& parameter : make_parameter_table(config).entries()) {
    std::vector<float> x(static_cast<size_t>(parameter.size())), y(x.size());
    a.read(parameter, x);
    b.read(parameter, y);
    ASSERT_EQ(std::memcmp(x.data(), y.data(), x.size() * sizeof(float)), 0) << parameter.name;
  }
}

TEST(GgufModel, IsTheModelThatItWasMadeOf) {
  for (const char* const name :
       {"llama", "qwen3", "mixtral", "qwen2_moe", "granitemoe", "llama3_rope", "gpt2", "phi"}) {
    const GgufModel model(gguf_file(name));
    const HfModel expected(hf_folder(name));
    EXPECT_EQ(model.family().model_type, std::string_view(name) == "llama3_rope" ? "llama" : name);
    ModelConfig facts = model.config();
    facts.moe.aux_loss_weight = expected.config().moe.aux_loss_weight;  // of training, which GGUF knows nothing of
    facts.dropout = expected.config().dropout, facts.attention_dropout = expected.config().attention_dropout;
    if (std::string_view(name) == "qwen2_moe") facts.moe.normalize = expected.config().moe.normalize;  // never there
    ModelConfig theirs = expected.config();
    EXPECT_THAT(differences(fields_of(facts), fields_of(theirs), "gguf", "hf"), IsEmpty()) << name;
    const ParameterTable table = make_parameter_table(model.config());
    model.check_against(table);
    expect_equal(model, expected, model.config());
  }
}

TEST(GgufModel, ReadsBackWhatItWrites) {
  const test::TemporaryFolder folder;
  for (const char* const name : {"llama", "llama_head_dim", "qwen2", "qwen3", "mixtral", "olmoe_heads", "qwen3_moe",
                                 "gpt2", "granitemoe", "llama3_rope", "rope_linear", "rope_yarn", "phi"}) {
    const fs::path file = folder / (std::string(name) + ".gguf");
    const Conversion made = convert_model(hf_folder(name), std::nullopt, file, {.format = "gguf"});
    EXPECT_EQ(made.format_from, "hf");
    const GgufModel back(file);
    const HfModel expected(hf_folder(name));
    ModelConfig facts = back.config(), theirs = expected.config();
    facts.moe.aux_loss_weight = theirs.moe.aux_loss_weight;
    facts.dropout = theirs.dropout, facts.attention_dropout = theirs.attention_dropout;
    EXPECT_THAT(differences(fields_of(facts), fields_of(theirs), "gguf", "hf"), IsEmpty()) << name;
    expect_equal(back, expected, expected.config());
  }
}

// To six digits these are two numbers: 1.23102e-05, and what float32 makes of it 1.23101e-05.
TEST(GgufModel, TakesNumbersThatFloat32Rounds) {
  const test::TemporaryFolder folder;
  for (const char* const name : {"config.json", "model.safetensors"})
    fs::copy_file(hf_folder("llama") / name, folder.path() / name);
  nlohmann::json settings = read_json_file(folder / "config.json");
  settings["rms_norm_eps"] = 1.231015001e-05;
  write_json_file(folder / "config.json", settings);
  EXPECT_EQ(test::error_of([&] { convert_model(folder.path(), std::nullopt, folder / "x.gguf", {.format = "gguf"}); }),
            "");
  EXPECT_NEAR(GgufModel(folder / "x.gguf").config().norm_epsilon, 1.231015001e-05, 1e-11);
}

TEST(GgufModel, WritesNarrowTypes) {
  const test::TemporaryFolder folder;
  const fs::path file = folder / "x.gguf";
  convert_model(hf_folder("llama"), std::nullopt, file, {.format = "gguf", .type = GgmlType::kQ8_0});
  const GgufFile gguf(file);
  EXPECT_EQ(gguf.find_tensor("blk.0.attn_q.weight")->type, GgmlType::kQ8_0);
  EXPECT_EQ(gguf.find_tensor("blk.0.attn_norm.weight")->type, GgmlType::kF32);
  EXPECT_EQ(gguf.find_tensor("blk.0.ffn_down.weight")->type, GgmlType::kF16);  // 56 values a row
}

TEST(GgufModel, RefusesWhatTheFormatCannotSay) {
  const test::TemporaryFolder folder;
  const auto error = [&](const char* name) {
    const std::string text =
        test::error_of([&] { convert_model(hf_folder(name), std::nullopt, folder / "x.gguf", {.format = "gguf"}); },
                       ErrorCode::kUsage);
    EXPECT_TRUE(fs::is_empty(folder.path())) << name;
    return text;
  };
  EXPECT_THAT(error("mistral_window"),
              HasSubstr("--to gguf: expected a model of one of the families llama, mixtral, "));
  EXPECT_THAT(error("rope_dynamic"), HasSubstr("--to gguf: expected a model that the architecture llama can say, got "
                                               "rope.scaling: \"dynamic\" in the model, \"none\" in llama"));
  EXPECT_THAT(error("olmoe"), HasSubstr("kv_heads: 2 in the model, 4 in olmoe"));
  EXPECT_THAT(error("rope_yarn_factor"), HasSubstr("rope.truncate: false in the model, true in llama"));
  EXPECT_THAT(error("gpt2_relu"), HasSubstr("activation: \"relu\" in the model, \"gelu\" in gpt2"));
  EXPECT_THAT(error("qwen2_moe"), HasSubstr("moe.normalize: \"before_dropping\" in the model, \"never\" in qwen2moe"));
  constexpr std::pair<const char*, const char*> kUntied[] = {
      {"phi", "phi2"}, {"olmoe_heads", "olmoe"}, {"qwen2_moe", "qwen2moe"}};
  for (const auto& [name, architecture] : kUntied) {
    ModelConfig tied = read_hf_config(hf_folder(name));
    tied.tied_output = true;
    EXPECT_THAT(test::error_of(
                    [&] {
                      write_gguf_model(folder / "x.gguf", tied, GgmlType::kF32, {},
                                       [](const Parameter&, std::span<float>) {});
                    },
                    ErrorCode::kUsage),
                HasSubstr(std::string("tied_output: true in the model, false in ") + architecture));
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
  EXPECT_THAT(error("xglm"), HasSubstr("--to gguf: expected a model of one of the families"));
}

TEST(GgufModel, RefusesFilesThatAreNoModelNamingWhy) {
  const test::TemporaryFolder folder;
  // The llama file with one key or tensor changed.
  const auto error = [&](const std::function<void(GgufMetadata&, std::vector<GgufTensorToWrite>&)>& change) {
    const GgufFile from(gguf_file("llama"));
    GgufMetadata metadata = from.metadata();
    std::vector<GgufTensorToWrite> tensors;
    for (const GgufTensor& tensor : from.tensors()) tensors.push_back({tensor.name, tensor.type, tensor.shape});
    change(metadata, tensors);
    write_file_atomically(folder / "x.gguf", [&](FileWriter& file) {
      GgufWriter writer(file, metadata, tensors);
      for (const GgufTensorToWrite& tensor : tensors)
        writer.append(std::vector<float>(static_cast<size_t>(num_elements(tensor.shape))));
      writer.finish();
    });
    return test::error_of([&] {
      const GgufModel model(folder / "x.gguf");
      model.check_against(make_parameter_table(model.config()));
    });
  };
  const auto with_key = [&](const char* key, GgufValue value) {
    return error([&](GgufMetadata& metadata, auto&) {
      std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
      metadata.emplace_back(key, std::move(value));
    });
  };
  EXPECT_EQ(error([](auto&, auto&) {}), "");
  EXPECT_THAT(with_key("general.architecture", GgufValue::string("porcupine")),
              HasSubstr("x.gguf: general.architecture: expected one of llama, gpt2, qwen2, "));
  EXPECT_THAT(with_key("llama.attention.sliding_window", GgufValue::u32(8)),
              HasSubstr("llama.attention.sliding_window: expected no such setting (this decoder has no fact for it)"));
  EXPECT_THAT(with_key("llama.rope.scaling.type", GgufValue::string("longrope")),
              HasSubstr("llama.rope.scaling.type: expected none, linear or yarn, got longrope"));
  EXPECT_THAT(with_key("llama.expert_weights_norm", GgufValue::boolean(true)),
              HasSubstr("llama.expert_weights_norm: expected false, as llama.cpp computes llama, got true"));
  EXPECT_THAT(with_key("llama.expert_gating_func", GgufValue::u32(2)),
              HasSubstr("llama.expert_gating_func: expected 1 (softmax), got 2"));
  EXPECT_THAT(with_key("llama.block_count", GgufValue::string("2")),
              HasSubstr("llama.block_count: expected an integer"));
  EXPECT_THAT(with_key("llama.attention.head_count", GgufValue::u32(0)), HasSubstr("head_count: expected at least 1"));
  EXPECT_THAT(with_key("llama.rope.dimension_count", GgufValue::u32(4)),
              HasSubstr("llama.rope.dimension_count: expected 8, as the other settings say, got 4"));
  EXPECT_THAT(with_key("llama.block_count", GgufValue::u32(1)), HasSubstr("expected only tensors of the model"));
  EXPECT_THAT(with_key("llama.block_count", GgufValue::u32(3)), HasSubstr("blk.2."));
  EXPECT_THAT(error([](auto&, auto& tensors) { tensors[3].shape[0] += 1; }), HasSubstr("(by the settings), got"));
  EXPECT_THAT(error([](auto&, auto& tensors) {
                tensors.push_back({"rope_freqs.weight", GgmlType::kF32, {4}});
              }),
              HasSubstr("rope_freqs.weight: expected what Llama 3.1's scaling by 1 from a context of 8192 divides the 4 "
                        "frequencies by, got other values"));
}

}  // namespace
}  // namespace troupe
