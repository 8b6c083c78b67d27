#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/json_file.h"
#include "log_capture.h"
#include "model/hf/hf_model.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

const ordered_json kLlama = {{"model_type", "llama"},
                             {"vocab_size", 100},
                             {"hidden_size", 32},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 4},
                             {"intermediate_size", 64},
                             {"max_position_embeddings", 64},
                             {"rope_scaling",
                              {{"rope_type", "yarn"},
                               {"factor", 4.0},
                               {"original_max_position_embeddings", 16},
                               {"beta_fast", 32.0},
                               {"beta_slow", 1.0},
                               {"truncate", false},
                               {"attention_factor", 1.5}}}};

ModelConfig facts(const ordered_json& config) {
  HfConfig hf(config, "config.json");
  return hf_facts(hf);
}

TEST(HfConfig, ReadsYarn) {
  const RopeConfig rope = facts(kLlama).rope;
  EXPECT_EQ(rope.scaling, RopeScaling::kYarn);
  EXPECT_EQ(rope.factor, 4.0);
  EXPECT_FALSE(rope.truncate);
}

// Whatever stands at a key is read or refused by its name.
TEST(HfConfig, NamesTheKeyOfAWrongType) {
  for (const auto& [key, value] : kLlama["rope_scaling"].items())
    for (const ordered_json& wrong : {ordered_json("x"), ordered_json::array()}) {
      ordered_json config = kLlama;
      config["rope_scaling"][key] = wrong;
      EXPECT_THAT(test::error_of([&] { facts(config); }), HasSubstr("config.json: " + key + ": expected")) << wrong;
    }
}

// Such a router learns nothing from the loss, but the model is one that transformers computes.
TEST(HfConfig, ReadsOneChoiceWhoseWeightIsDividedByItself) {
  ordered_json config = kLlama;
  config["model_type"] = "mixtral", config["num_key_value_heads"] = 4;
  config["num_local_experts"] = 4, config["num_experts_per_tok"] = 1;
  EXPECT_EQ(facts(config).moe.normalize, Normalize::kBeforeDropping);
}

TEST(HfConfig, RefusesAnOriginalContextThatIsNone) {
  const std::string key = "original_max_position_embeddings";
  for (const double wrong : {1e300, -1e300, 16777217.0, 0.0, 0.5}) {
    ordered_json beside = kLlama, above = kLlama;
    beside["rope_scaling"][key] = wrong;
    above["rope_scaling"].erase(key), above[key] = wrong;
    for (const ordered_json& config : {beside, above})
      EXPECT_THAT(test::error_of([&] { facts(config); }),
                  HasSubstr("config.json: " + key + ": expected a whole number"))
          << config;
  }
  ordered_json above = kLlama;
  above["rope_scaling"].erase(key), above["rope_scaling"].erase("factor"), above[key] = 32;
  EXPECT_EQ(facts(above).rope.original_context, 32);
  EXPECT_EQ(facts(above).rope.factor, 2.0);
}

TEST(HfConfig, SaysOnceWhatItIgnores) {
  const test::TemporaryFolder folder;
  ordered_json config = kLlama;
  config["a_new_setting"] = 1, config["unk_token_id"] = 3, config["_model_name_or_path"] = "somewhere";
  write_json_file(folder / "config.json", config);
  test::LogCapture capture;
  for (int reads = 0; reads < 3; ++reads) static_cast<void>(read_hf_config(folder.path()));
  const std::string log = capture.end();
  const size_t first = log.find("not a setting of");
  EXPECT_THAT(log, HasSubstr("a_new_setting: not a setting of llama that Troupe knows, ignored"));
  EXPECT_EQ(log.find("not a setting of", first + 1), log.npos) << log;
}

}  // namespace
}  // namespace troupe
