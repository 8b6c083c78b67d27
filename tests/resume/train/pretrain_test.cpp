// Pretraining as a whole: it learns, and stops where a value is not finite or data do not fit.
#include "train/pretrain.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "io/checksum.h"
#include "log_capture.h"
#include "pretraining.h"
#include "temporary_folder.h"
#include "training.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::Kind;
using test::metrics;
using test::run;
using test::small_run;
using test::TemporaryFolder;
using testing::HasSubstr;

TEST(Pretrain, LearnsAndExportsTheModel) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kMoe);
  config.model.dropout = config.model.attention_dropout = 0.0;
  config.train.steps = 60;
  const PretrainResult result = run(config, folder / "run");
  std::vector<double> nll;
  for (const std::string& text : metrics(folder / "run"))
    if (const auto line = nlohmann::json::parse(text); line["schema"] == "troupe.valid/1") {
      nll.push_back(line["nll"]);
      EXPECT_NEAR(line["ppl"].get<double>(), std::exp(nll.back()), 1e-9 * line["ppl"].get<double>());
      EXPECT_GT(line["bits_per_byte"].get<double>(), 0.0);
    }
  ASSERT_EQ(nll.size(), 15u);
  EXPECT_NEAR(nll.front(), std::log(40.0), 0.6);
  EXPECT_LT(nll.back(), nll.front() - 0.5);
  EXPECT_EQ(result.model, folder / "run" / "model");
  EXPECT_EQ(xxh3_of_file(result.model / "model.safetensors"), xxh3_of_file(result.checkpoint / "model.safetensors"));
  EXPECT_EQ(list_checkpoints(folder / "run" / "checkpoints").size(), 3u);  // train.keep_last
  const auto last = nlohmann::json::parse(metrics(folder / "run").at(metrics(folder / "run").size() - 2));
  ASSERT_EQ(last["moe"].size(), 1u);
  double sum = 0.0;
  for (const auto& share : last["moe"][0]["load"]) sum += share.get<double>();
  EXPECT_NEAR(sum, 1.0, 1e-12);
}

TEST(Pretrain, MicroBatchesDoNotChangeADenseRun) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  std::vector<double> loss;
  for (const int64_t micro : {0, 4, 1}) {
    config.train.micro_sequences = micro;
    run(config, folder / fmt::format("micro-{}", micro));
    loss.push_back(nlohmann::json::parse(metrics(folder / fmt::format("micro-{}", micro)).back())["nll"]);
  }
  EXPECT_NEAR(loss[0], loss[1], 1e-5);
  EXPECT_NEAR(loss[0], loss[2], 1e-5);
}

TEST(Pretrain, StopsAtNonFiniteValuesAndOverwritesNothing) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kMoe);
  config.train.schedule = {.kind = ScheduleKind::kConstant, .lr = 1e30};
  config.train.checkpoint_every = 1;
  const std::string message = error_of([&] { run(config, folder / "run"); }, ErrorCode::kNonFinite);
  EXPECT_THAT(message, testing::MatchesRegex("step [0-9]+: .*: expected (a )?finite value.*"));
  const auto checkpoint = newest_complete(folder / "run" / "checkpoints");
  ASSERT_TRUE(checkpoint);
  EXPECT_THAT(message, HasSubstr(fmt::format("step {}:", checkpoint->step + 1)));
  EXPECT_FALSE(fs::exists(folder / "run" / "model"));
}

TEST(Pretrain, AnUpdateThatIsNotFiniteIsNeitherSavedNorExported) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  config.train.schedule = {.kind = ScheduleKind::kConstant, .lr = 1e38};
  config.train.adam.weight_decay = 1e3;
  config.train.steps = 1;  // nothing follows that would see it
  EXPECT_THAT(error_of([&] { run(config, folder / "run"); }, ErrorCode::kNonFinite),
              testing::StartsWith("step 1: after the update: "));
  EXPECT_FALSE(fs::exists(folder / "run/model"));
  EXPECT_FALSE(newest_complete(folder / "run/checkpoints"));
}

TEST(Pretrain, SaysThatAModelIsWorseThanChance) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  PretrainOptions options;
  options.run = folder / "good";
  test::LogCapture good;
  pretrain(config, "test.toml", options);
  EXPECT_THAT(good.end(), testing::Not(HasSubstr("uniform guess")));
  config.train.schedule = {.kind = ScheduleKind::kConstant, .lr = 10.0};
  config.train.steps = 3;
  options.run = folder / "bad";
  test::LogCapture bad;
  pretrain(config, "test.toml", options);
  EXPECT_THAT(bad.end(), HasSubstr("far above the 3.69 of a uniform guess among 40 tokens"));
}

TEST(Pretrain, UtilisationIsNeverAboveThePeakBesideIt) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  for (const double peak : {1e20, 1.0}) {
    PretrainOptions options;
    options.run = folder / fmt::format("{}", peak);
    options.measure_peak = [&] { return peak; };
    pretrain(config, "test.toml", options);
    const std::string text = read_file(options.run / "metrics.jsonl");
    const auto mfu = nlohmann::json::parse(text.substr(0, text.find('\n')))["mfu"];
    if (peak > 1.0)
      EXPECT_GT(mfu.get<double>(), 0.0);
    else
      EXPECT_TRUE(mfu.is_null()) << mfu;
  }
}

TEST(Pretrain, RefusesDataThatDoesNotFit) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  const auto message = [&](const RunConfig& other, ErrorCode code = ErrorCode::kUsage) {
    return error_of([&] { run(other, folder / "run"); }, code);
  };
  RunConfig other = config;
  other.model.vocab_size = 39;
  EXPECT_THAT(message(other), HasSubstr("model.vocab_size: expected at least the 40 ids of"));
  other = config;
  other.model.eos_id = 3;
  EXPECT_THAT(message(other), HasSubstr("model.eos_id: expected 0, the end-of-text of"));
  other = config;
  other.data.weights = {"a=1", "c=2"};
  EXPECT_THAT(message(other), HasSubstr("data.weights: expected a name from data.train, got c"));
  other.data.weights = {"a=1"};
  EXPECT_THAT(message(other), HasSubstr("expected a weight for every dataset or for none, got none for b"));
  other.data.weights = {"a=much", "b=1"};
  EXPECT_THAT(message(other), HasSubstr("data.weights: a: expected a number above 0, got much"));
  other = config;
  other.train.tokens = 1000;
  EXPECT_THAT(message(other), HasSubstr("expected either steps or tokens above 0, got 12 and 1000"));
  other = config;
  other.train.micro_sequences = 3;
  EXPECT_THAT(message(other), HasSubstr("expected a divisor of train.batch_sequences (8), got 3"));
  const fs::path shard = folder / "b" / "b-00000.tok";
  fs::resize_file(shard, fs::file_size(shard) - 2);
  EXPECT_THAT(message(config, ErrorCode::kData), HasSubstr("b-00000.tok: expected"));
}

}  // namespace
}  // namespace troupe
