// Adapters against data that PEFT wrote (tests/data/golden/peft-small): what they make of loss and gradients, and the
// way to PEFT's files and back.
#include "model/hf/peft.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error_of.h"
#include "golden.h"
#include "io/atomic_file.h"
#include "model/decoder_parameters.h"
#include "model/decoder_weights.h"
#include "model/hf/hf_model.h"
#include "model/hf/hf_write.h"
#include "model/model_directory.h"
#include "temporary_folder.h"
#include "train/lora_config.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::values_of;

const fs::path kPeftSmall = fs::path(TROUPE_TEST_DATA) / "golden" / "peft-small";

fs::path base_of(const std::string& name) {
  return fs::path(TROUPE_TEST_DATA) / "golden" / "hf-small" / name.substr(0, name.find('-'));
}

ModelConfig quiet_config(const fs::path& folder) {
  ModelConfig config = read_model_config(folder);
  config.dropout = config.attention_dropout = 0.0;
  return config;
}

struct PeftCase {
  explicit PeftCase(const std::string& name)
      : folder(kPeftSmall / name),
        base(base_of(name)),
        golden(folder / "golden.safetensors"),
        model(quiet_config(base), Precision::kFp32) {
    batch.B = golden.at("src").shape[0], batch.S = golden.at("src").shape[1];
    batch.src = test::ids_of(golden, "src"), batch.tgt = test::ids_of(golden, "tgt");
  }
  const HfFamily* family() const { return find_hf_family(model.config(), model_family(base)); }
  double expected_nll() const { return static_cast<double>(values_of<float>(golden, "nll_sum").at(0)); }

  fs::path folder, base;
  SafetensorsFile golden;
  LanguageModel model;
  Batch batch;
};

class PeftGolden : public testing::TestWithParam<const char*> {};

TEST_P(PeftGolden, AnAdapterThatIsReadGivesTheirLoss) {
  PeftCase c(GetParam());
  load_parameters(c.base, c.model);
  const double without = c.model.score(c.batch, {}).nll;
  load_parameters(c.base, c.model, c.folder);
  const double nll = c.model.score(c.batch, {}).nll;
  EXPECT_NEAR(nll, c.expected_nll(), 2e-6 * c.expected_nll());
  EXPECT_GT(std::abs(without - nll), 0.01);
}

INSTANTIATE_TEST_SUITE_P(Adapters, PeftGolden,
                         testing::Values("llama-qv", "llama-all", "gpt2-all", "gpt_neox-all", "opt-qv",
                                         "mixtral-experts", "qwen2_moe-down", "granitemoe-gate_up", "olmoe-router"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

struct TrainedCase {
  const char* name;
  std::vector<std::string> targets;
  int64_t rank;
  double alpha;
};

class PeftTraining : public testing::TestWithParam<TrainedCase> {};

// A and B under the names of PEFT: MODULE of a parameter of llama and opt is one tensor of theirs.
std::string their_stem(const PeftCase& c, const LoraTarget& target) {
  const std::string tensor =
      hf_pieces(*c.family(), c.model.config(), c.model.table().find(target.weight.name)).at(0).tensor;
  return "base_model.model." + tensor.substr(0, tensor.size() - std::string(".weight").size());
}

TEST_P(PeftTraining, GradientsAreTheirsAndWhatIsWrittenIsTheirFile) {
  const TrainedCase& given = GetParam();
  PeftCase c(given.name);
  load_parameters(c.base, c.model);
  const LoraParameters adapters = make_lora_parameters(c.model.table(), lora_targets(given.targets), given.rank);
  const SafetensorsFile theirs(c.folder / "adapter_model.safetensors");
  ASSERT_EQ(theirs.tensors().size(), 2 * adapters.targets.size());
  const auto each_tensor = [&](const auto& f) {
    for (const LoraTarget& target : adapters.targets)
      for (const auto& [slot, kind] : {std::pair(target.a, "A"), std::pair(target.b, "B")})
        f(slot, fmt::format("{}.lora_{}.weight", their_stem(c, target), kind));
  };
  ParameterStore<float> values(adapters.table), none(c.model.table(), [](const Parameter&) { return false; });
  each_tensor([&](Slot slot, const std::string& name) {
    const std::vector<float> of_file = values_of<float>(theirs, name);
    ASSERT_EQ(of_file.size(), values.at(slot).size());
    std::ranges::copy(of_file, values.at(slot).begin());
  });
  for (const double dropout : {0.0, 1e-12}) {  // merged, and beside their matrices, where nothing is dropped
    SCOPED_TRACE(dropout);
    load_parameters(c.base, c.model);
    Lora<F32> lora(adapters, given.alpha / static_cast<double>(given.rank), c.model.params(), {}, dropout);
    std::ranges::copy(values.all(), lora.values().all().begin());
    ParameterStore<float> grads(adapters.table);
    lora.merge(c.model.params());
    c.model.visit([&](auto& decoder) { lora.attach(decoder.weights(), grads); });
    EXPECT_NEAR(c.model.forward_backward(c.batch, {}, none).nll, c.expected_nll(), 2e-6 * c.expected_nll());
    each_tensor([&](Slot slot, const std::string& name) {
      const std::vector<float> expected = values_of<float>(c.golden, "grad." + name);
      float largest = 0.0f;
      for (const float value : expected) largest = std::max(largest, std::abs(value));
      test::expect_all_near<float, float>(grads.at(slot), expected, 2e-4 * static_cast<double>(largest), name);
    });
    c.model.visit([&](auto& decoder) { lora.detach(decoder.weights()); });
  }

  const test::TemporaryFolder out;
  write_peft_adapter(out.path(), adapters, values, c.model.config(), c.family(), {"base", given.alpha, 0.1});
  const SafetensorsFile ours(out.path() / "adapter_model.safetensors");
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const TensorView& tensor : theirs.tensors()) {
    ASSERT_NE(ours.find(tensor.name), nullptr) << tensor.name;
    EXPECT_EQ(ours.find(tensor.name)->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(ours.find(tensor.name)->bytes, tensor.bytes)) << tensor.name;
  }
  const nlohmann::json said = read_json_file(out.path() / "adapter_config.json");
  EXPECT_EQ(said["r"], given.rank);
  EXPECT_EQ(said["lora_alpha"], given.alpha);
  EXPECT_EQ(said["lora_dropout"], 0.1);
  EXPECT_EQ(said["base_model_name_or_path"], "base");
}

INSTANTIATE_TEST_SUITE_P(Adapters, PeftTraining,
                         testing::Values(TrainedCase{"llama-qv", {"q_proj", "v_proj"}, 4, 8.0},
                                         TrainedCase{"opt-qv", {"q_proj", "v_proj", "up_proj"}, 2, 3.0}),
                         [](const auto& info) { return std::string(info.param.name).substr(0, 3); });

// Every family of dense models, every target, and models of ours: written and read again it is what training merged, to
// the bit.
TEST(PeftFiles, OfEveryFamilyComeBack) {
  for (const char* name : {"gpt2", "opt", "xglm", "gpt_neox", "llama", "mistral_window", "qwen2", "qwen3", "olmo2",
                           "mixtral", "olmoe", "qwen2_moe", "granitemoe"})
    for (const auto& [theirs, router] : {std::pair(true, true), {true, false}, {false, true}}) {
      SCOPED_TRACE(fmt::format("{}, {}, {}", name, theirs ? "their names" : "ours", router ? "router" : "no router"));
      const fs::path base = base_of(name);
      LanguageModel model(quiet_config(base), Precision::kFp32);
      load_parameters(base, model);
      const ParameterTable& table = model.table();
      const bool moe = model.config().num_moe_layers() > 0, gated = model.config().ffn_gated;
      std::vector<std::string> targets = {"q_proj", "v_proj", "o_proj"};
      if (!moe) targets.insert(targets.end(), {"up_proj", "down_proj"});
      if (!moe && gated) targets.push_back("gate_proj");
      if (moe) targets.push_back("experts");
      if (moe && router) targets.push_back("router");
      check_lora({.rank = 3, .targets = targets}, table, "x");
      const LoraParameters adapters = make_lora_parameters(table, lora_targets(targets), 3);
      Lora<F32> lora(adapters, 4.0 / 3.0, model.params());
      Rng rng(8);
      for (float& value : lora.values().all()) value = static_cast<float>(0.1 * rng.normal());
      const HfFamily* const family = theirs ? find_hf_family(model.config(), model_family(base)) : nullptr;
      ASSERT_EQ(family != nullptr, theirs);
      const test::TemporaryFolder out;
      const int64_t modules =
          write_peft_adapter(out.path(), adapters, lora.values(), model.config(), family, {"base", 4.0});
      lora.merge(model.params());
      const PeftAdapter read(out.path(), model.config(), family);
      EXPECT_EQ(read.num_modules(), modules);
      const nlohmann::json said = read_json_file(out.path() / "adapter_config.json");
      const bool granite = name == std::string_view("granitemoe");
      const std::string experts = granite ? "block_sparse_moe.experts" : "mlp.experts";
      nlohmann::json expected = nlohmann::json::array();
      if (theirs && moe) expected = {experts + ".down_proj", experts + ".gate_up_proj"};
      if (theirs && moe && router) expected.push_back(granite ? "block_sparse_moe.router.weight" : "mlp.gate.weight");
      EXPECT_EQ(said.value("target_parameters", nlohmann::json::array()), expected);
      EXPECT_EQ(said.contains("target_parameters"), !expected.empty());
      const OpenParameters source = open_parameters(base, table);
      for (const Parameter& parameter : table.entries()) {
        std::vector<float> values(static_cast<size_t>(parameter.size()));
        source.read(parameter, values);
        read.add_to(parameter, values);
        const auto merged = std::as_const(model).params().at(parameter.slot);
        EXPECT_TRUE(std::ranges::equal(values, merged)) << parameter.name;
      }
    }
}

// Every damage has its message.
TEST(PeftFiles, NamesWhatIsWrong) {
  const std::string name = "llama-qv";
  const fs::path base = base_of(name);
  const ModelConfig config = read_model_config(base);
  const HfFamily* const family = find_hf_family(config, "llama");
  const auto error = [&](const std::string& key, const nlohmann::json& value) {
    const test::TemporaryFolder folder;
    fs::create_symlink(fs::absolute(kPeftSmall / name / "adapter_model.safetensors"),
                       folder.path() / "adapter_model.safetensors");
    nlohmann::json settings = read_json_file(kPeftSmall / name / "adapter_config.json");
    settings[key] = value;
    write_json_file(folder.path() / "adapter_config.json", settings);
    return test::error_of([&] { PeftAdapter(folder.path(), config, family); }, ErrorCode::kData);
  };
  using testing::HasSubstr;
  EXPECT_THAT(error("peft_type", "IA3"), HasSubstr("adapter_config.json: peft_type: expected \"LORA\", got \"IA3\""));
  EXPECT_THAT(error("r", 5),
              HasSubstr("q_proj.lora_A.weight: expected [5, 32] (rank and the module's inputs), got F32 [4, 32]"));
  EXPECT_THAT(error("r", 0), HasSubstr("r: expected 1 to 1048576, got 0"));
  EXPECT_THAT(error("r", "4"), HasSubstr("adapter_config.json: r: expected a whole number"));
  EXPECT_THAT(error("use_dora", true), HasSubstr("use_dora: expected none"));
  EXPECT_THAT(error("modules_to_save", {"lm_head"}), HasSubstr("modules_to_save: expected none"));
  EXPECT_THAT(error("target_parameters", {"mlp.gate.bias"}),
              HasSubstr("expected gate_up_proj and down_proj of experts, and MODULE.weight, got \"mlp.gate.bias\""));
  EXPECT_THAT(error("bias", "all"), HasSubstr("bias: expected \"none\", got \"all\""));
  EXPECT_THAT(error("init_lora_weights", "pissa"), HasSubstr("init_lora_weights: expected a way that leaves"));
  EXPECT_THAT(error("alpha_pattern", {{"q_.*", 3}}),
              HasSubstr("alpha_pattern: expected names of modules, got \"q_.*\""));
  EXPECT_THAT(error("rank_pattern", {{"q_proj", 1e300}}), HasSubstr("rank_pattern: expected whole numbers from 1 to"));
  EXPECT_THAT(error("rank_pattern", {{"q_proj", 9}}), HasSubstr("q_proj.lora_A.weight: expected [9, 32]"));
  EXPECT_THAT(test::error_of([&] { PeftAdapter(kPeftSmall / name, config, nullptr); }, ErrorCode::kData),
              HasSubstr("lora_A.weight: expected a linear layer or experts of the model (of no family)"));
  EXPECT_THAT(test::error_of([&] { PeftAdapter(kPeftSmall / "gpt2-all", config, family); }, ErrorCode::kData),
              HasSubstr("expected a linear layer or experts of the model (llama)"));
  EXPECT_THAT(test::error_of([&] { find_adapter(base); }, ErrorCode::kData),
              HasSubstr("expected an adapter (adapter_config.json"));
}

}  // namespace
}  // namespace troupe
