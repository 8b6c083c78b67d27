// The folder of a run: what goes on there and what is refused, which of its checkpoints are taken, and what it tells of
// the run.
#include "train/pretrain.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/atomic_file.h"
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
using test::use_muon;
using testing::HasSubstr;

TEST(RunFolder, RefusesToMixRuns) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run", {.stop_after = 2});
  const auto message = [&](const RunConfig& other, bool resume) {
    return error_of([&] { run(other, folder / "run", {.resume = resume}); }, ErrorCode::kUsage);
  };
  EXPECT_THAT(message(config, false), HasSubstr("expected a new run, got one at step 2 (--resume goes on with it)"));
  RunConfig other = config;
  other.model.d_ff = 65;
  EXPECT_THAT(message(other, true), HasSubstr("model.d_ff: 64 in the checkpoint, 65 in the configuration"));
  other = config;
  other.train.batch_sequences = 16;
  EXPECT_THAT(message(other, true), HasSubstr("train.batch_sequences: 8 in the checkpoint, 16 in the configuration"));
  other = config;
  use_muon(other.train);
  EXPECT_THAT(message(other, true), HasSubstr(R"(train.optimizer.matrices: "adam" in the checkpoint, "muon" in)"));
  other = config;
  other.data.train.pop_back();
  EXPECT_THAT(message(other, true), HasSubstr("data.train: expected a, b as in the run to resume, got a (data.train: "));
  other.data.train.push_back("b=" + test::write_token_dataset(folder / "other", 9, 25));
  EXPECT_THAT(message(other, true), HasSubstr("as in the run to resume, got b"));
  other = config;
  other.data.weights = {"a=1", "b=2"};
  EXPECT_THAT(message(other, true), HasSubstr("data.weights: expected a ("));
  config.train.steps = 4;  // a setting that may change
  EXPECT_EQ(run(config, folder / "run", {.resume = true}).step, 4);
}

// All files below a folder with their content, and folders.
std::map<std::string, std::string> content(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    files[entry.path().string()] = entry.is_regular_file() ? read_file(entry.path()) : "";
  return files;
}

TEST(RunFolder, CheckpointsThatCannotBeReadAreNeverWrittenOver) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  config.train.keep_last = 1;
  const fs::path checkpoint = folder / "run/checkpoints/step-00000005";
  const std::pair<const char*, std::function<void()>> damages[] = {
      {"manifest.json: expected a readable file", [&] { fs::remove(checkpoint / "manifest.json"); }},
      {"model.safetensors: expected", [&] { fs::resize_file(checkpoint / "model.safetensors", 100); }},
      {"optimizer.safetensors: expected a regular file",
       [&] {
         fs::remove(checkpoint / "optimizer.safetensors");
         fs::create_directory(checkpoint / "optimizer.safetensors");
       }},
      {"checkpoints: expected the checkpoints of this run, got none, although",
       [&] { fs::remove_all(folder / "run/checkpoints"); }},
      {"checkpoints: expected a folder of checkpoints",
       [&] {
         fs::remove_all(folder / "run/checkpoints");
         fs::create_symlink("unmounted", folder / "run/checkpoints");
       }},
  };
  for (const auto& [problem, damage] : damages) {
    SCOPED_TRACE(problem);
    fs::remove_all(folder / "run");
    run(config, folder / "run", {.stop_after = 5});
    damage();
    const auto before = content(folder / "run");
    for (const bool resume : {false, true})
      EXPECT_THAT(error_of([&] { run(config, folder / "run", {.resume = resume}); }, ErrorCode::kData),
                  HasSubstr(problem));
    EXPECT_EQ(content(folder / "run"), before);
  }
}

TEST(RunFolder, AFinishedRunWithoutCheckpointsIsNotStartedAgain) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run");
  fs::remove_all(folder / "run/checkpoints");
  fs::remove(folder / "run/history.jsonl");  // as of an older version
  const auto before = content(folder / "run");
  for (const bool resume : {false, true})
    EXPECT_THAT(error_of([&] { run(config, folder / "run", {.resume = resume}); }, ErrorCode::kData),
                HasSubstr("although its model is there"));
  EXPECT_EQ(content(folder / "run"), before);
}

// Killed before the first checkpoint: nothing to lose, and nothing in the way.
TEST(RunFolder, ARunWithoutAnyCheckpointYetStartsAgain) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  PretrainOptions options;
  options.run = folder / "run";
  options.metrics = [](const auto&) { throw std::runtime_error("killed"); };
  EXPECT_THROW(pretrain(config, "test.toml", options), std::runtime_error);
  EXPECT_FALSE(fs::exists(folder / "run/checkpoints"));
  EXPECT_EQ(run(config, folder / "run", {.resume = true}).step, 12);
}

TEST(RunFolder, GoesOnFromAnOlderCheckpointPlainlyAndKeepsTheDamagedOne) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run", {.stop_after = 10});
  const fs::path damaged = folder / "run/checkpoints/step-00000010";
  fs::resize_file(damaged / "optimizer.safetensors", 100);
  const std::string kept = read_file(damaged / "model.safetensors");
  PretrainOptions options;
  options.run = folder / "run";
  options.resume = true;
  test::LogCapture log;
  pretrain(config, "test.toml", options);
  const std::string said = log.end();
  EXPECT_THAT(said, HasSubstr("optimizer.safetensors: expected"));
  EXPECT_THAT(said, HasSubstr("set aside as step-00000010.damaged"));
  EXPECT_THAT(said, HasSubstr("going on from step 5, not from step 10"));
  EXPECT_EQ(read_file(damaged.string() + ".damaged/model.safetensors"), kept);
}

TEST(RunFolder, ConfigurationSaysWhatWasComputed) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run");
  const std::string written = read_file(folder / "run/config.toml");
  RunConfig shorter = config;
  shorter.train.steps = 6;
  EXPECT_THAT(error_of([&] { run(shorter, folder / "run", {.resume = true}); }, ErrorCode::kUsage),
              HasSubstr("train.steps: expected at least the 12 updates that"));
  RunConfig other = config;
  other.train.schedule.lr = 1.0;
  EXPECT_EQ(run(other, folder / "run", {.resume = true}).step, 12);  // nothing is left to compute with it
  EXPECT_EQ(read_file(folder / "run/config.toml"), written);
  other.train.steps = 14;
  other.train.schedule.lr = 1e-3;
  EXPECT_EQ(run(other, folder / "run", {.resume = true}).step, 14);
  EXPECT_THAT(read_file(folder / "run/config.toml"), HasSubstr("steps = 14"));
}

TEST(RunFolder, HistorySaysWhatComputedTheRunAndOnlyGrows) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run", {.stop_after = 5});
  const std::string first = read_file(folder / "run/history.jsonl");
  config.train.schedule.lr = 1e-3;
  run(config, folder / "run", {.resume = true});
  const std::string text = read_file(folder / "run/history.jsonl");
  EXPECT_EQ(text.substr(0, first.size()), first);
  std::string events;
  nlohmann::json resumed, last;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    last = nlohmann::json::parse(text.substr(begin, end - begin));
    events += fmt::format("{}{} ", last["event"].get<std::string>(), last["step"].get<int64_t>());
    if (last["event"] == "resume") resumed = last;
  }
  EXPECT_EQ(events, "start0 checkpoint5 interrupted5 resume5 checkpoint10 checkpoint12 complete12 ");
  EXPECT_EQ(resumed["provenance"]["precision"], "fp32");
  for (const char* key : {"version", "commit", "compiler", "isa", "threads", "cpu", "host", "date"})
    EXPECT_TRUE(resumed["provenance"].contains(key)) << key;
  EXPECT_THAT(resumed["changes"].dump(), HasSubstr("train.schedule.lr"));
  EXPECT_GT(last["peak_memory_bytes"].get<int64_t>(), 0);
  const auto line = nlohmann::json::parse(read_file(folder / "run/metrics.jsonl").substr(
      0, read_file(folder / "run/metrics.jsonl").find('\n')));
  EXPECT_EQ(line["provenance"], [&] {
    auto same = nlohmann::json::parse(first.substr(0, first.find('\n')))["provenance"];
    same["date"] = line["provenance"]["date"];
    return same;
  }());
}

TEST(RunFolder, AValidationThatWasLeftOutIsMadeUpForOnce) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run", {.stop_after = 12});  // a signal during the last update
  const size_t without = metrics(folder / "run").size();
  for (int i = 0; i < 2; ++i) {
    run(config, folder / "run", {.resume = true});
    EXPECT_EQ(metrics(folder / "run").size(), without + 1);
  }
}

TEST(RunFolder, OneWriterAtATime) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  std::string second;
  PretrainOptions options;
  options.run = folder / "run";
  options.step = [&](const StepStats& stats, int64_t, double) {
    if (stats.step == 6)
      second = error_of([&] { run(config, folder / "run", {.resume = true}); }, ErrorCode::kEnvironment);
  };
  EXPECT_EQ(pretrain(config, "test.toml", options).step, 12);
  EXPECT_THAT(second, HasSubstr("expected no other writer, got one at work: process "));
}

}  // namespace
}  // namespace troupe
