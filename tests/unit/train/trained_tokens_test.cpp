// How many tokens a model was trained on, and which part of validation sets it is validated on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "temporary_folder.h"
#include "train/checkpoint.h"
#include "train/pretrain.h"
#include "training.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

TEST(TrainedTokens, AreThoseOfTheCheckpoint) {
  const TemporaryFolder folder;
  const RunConfig config = test::small_run(folder.path(), test::Kind::kDense);
  PretrainOptions options;
  options.run = folder / "run";
  int64_t tokens = 0;  // scored ones: padding is not
  options.step = [&](const StepStats& stats, int64_t, double) { tokens += stats.loss.tokens; };
  const PretrainResult result = pretrain(config, "test.toml", options);
  EXPECT_GT(tokens, 12 * 8 * 15);
  EXPECT_EQ(trained_tokens(result.checkpoint), tokens);
  EXPECT_FALSE(trained_tokens(folder / "v"));
  const std::filesystem::path file = result.checkpoint / kTrainStateFile;
  nlohmann::json state = read_json_file(file);
  for (const nlohmann::json& wrong : {nlohmann::json(-1), nlohmann::json("1"), nlohmann::json()}) {
    state["tokens"] = wrong;
    write_json_file(file, state);
    EXPECT_THAT(error_of([&] { trained_tokens(result.checkpoint); }), HasSubstr("train_state.json: tokens: expected"));
  }
}

TEST(Validation, ScoresTheFirstDocumentsUpToValidTokens) {
  const TemporaryFolder folder;
  RunConfig config = test::small_run(folder.path(), test::Kind::kDense);
  config.train.steps = 1, config.train.schedule.warmup_steps = 0;
  const TokenDataset set(folder / "v");
  const auto tokens_at = [&](int64_t valid_tokens) {
    config.train.valid_tokens = valid_tokens;
    PretrainOptions options;
    options.run = folder / std::to_string(valid_tokens);
    int64_t tokens = -1;
    options.metrics = [&](const nlohmann::ordered_json& line) {
      if (line["schema"] == "troupe.valid/1") tokens = line["tokens"];
    };
    pretrain(config, "test.toml", options);
    return tokens;
  };
  EXPECT_EQ(tokens_at(0), set.tokens());
  EXPECT_EQ(tokens_at(1), set.prefix(1).tokens);
  const int64_t part = tokens_at(100);
  EXPECT_EQ(part, set.prefix(100).tokens);
  EXPECT_LE(part, 100);
}

}  // namespace
}  // namespace troupe
