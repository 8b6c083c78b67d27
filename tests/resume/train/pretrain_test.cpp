// A run that is stopped and resumed computes what one that was not stopped computes: same parameters and moments to the
// bit, same lines of metrics, for any number of threads.
#include "train/pretrain.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "io/checksum.h"
#include "io/json_file.h"
#include "io/safetensors.h"
#include "log_capture.h"
#include "temporary_folder.h"
#include "training.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::Kind;
using test::small_run;
using test::TemporaryFolder;
using testing::HasSubstr;

struct RunOptions {
  bool resume = false;
  int64_t stop_after = -1;  // as if a signal came during this update
};

PretrainResult run(const RunConfig& config, const fs::path& folder, RunOptions options = {}) {
  int64_t done = 0;
  PretrainOptions pretrain_options;
  pretrain_options.run = folder;
  pretrain_options.resume = options.resume;
  pretrain_options.step = [&](const StepStats& stats, int64_t, double) { done = stats.step; };
  pretrain_options.interrupted = [&] { return done == options.stop_after; };
  return pretrain(config, "test.toml", pretrain_options);
}

// Lines of metrics.jsonl without what depends on the clock.
std::vector<std::string> metrics(const fs::path& folder) {
  std::vector<std::string> lines;
  const std::string text = read_file(folder / "metrics.jsonl");
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    auto line = nlohmann::ordered_json::parse(text.substr(begin, end - begin));
    for (const char* clock : {"tokens_per_s", "time_s", "mfu", "provenance"}) line.erase(clock);
    lines.push_back(line.dump());
  }
  return lines;
}

void expect_same_checkpoint(const fs::path& a, const fs::path& b) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(xxh3_of_file(a / file), xxh3_of_file(b / file)) << a << " and " << b << ": " << file;
}

struct Variant {
  const char* name;
  int threads;
  PrecisionChoice precision;
  bool recompute;
  MatrixOptimizer matrices = MatrixOptimizer::kAdam;
};

void use_muon(TrainConfig& train) {
  train.optimizer.matrices = MatrixOptimizer::kMuon;
  train.optimizer.lr.matrices = 0.02;
  train.muon.weight_decay = 0.1;
}

class Resume : public testing::TestWithParam<std::tuple<Kind, Variant>> {
 protected:
  void SetUp() override {
    threads_ = omp_get_max_threads();
    omp_set_num_threads(variant().threads);
  }
  static const Variant& variant() { return std::get<1>(GetParam()); }
  static RunConfig run_of(const fs::path& folder) {
    RunConfig config = small_run(folder, std::get<0>(GetParam()));
    config.train.precision = variant().precision, config.train.recompute = variant().recompute;
    if (variant().matrices == MatrixOptimizer::kMuon) {
      use_muon(config.train);
      config.model.logit_cap = 20, config.train.z_loss = 0.01, config.model.moe.router_z_loss = 0.01;
    }
    return config;
  }
  void TearDown() override { omp_set_num_threads(threads_); }
  int threads_ = 1;
};

TEST_P(Resume, EqualsARunThatWasNotStopped) {
  const TemporaryFolder folder;
  const RunConfig config = run_of(folder.path());
  const PretrainResult whole = run(config, folder / "whole");
  EXPECT_EQ(whole.step, 12);
  EXPECT_EQ(metrics(folder / "whole").size(), 6u + 3u);

  // 7 is no step of a checkpoint, a log line or a validation; 4 is one of a log line and a validation; 5 of a
  // checkpoint.
  for (const int64_t stop : {1, 4, 5, 7, 11}) {
    SCOPED_TRACE(fmt::format("stopped after {}", stop));
    const fs::path parts = folder / fmt::format("parts-{}", stop);
    const PretrainResult first = run(config, parts, {.stop_after = stop});
    EXPECT_TRUE(first.interrupted);
    EXPECT_EQ(first.step, stop);
    const PretrainResult second = run(config, parts, {.resume = true});
    EXPECT_FALSE(second.interrupted);
    expect_same_checkpoint(whole.checkpoint, second.checkpoint);
    EXPECT_EQ(metrics(parts), metrics(folder / "whole"));
  }
}

// A tensor is found by its name, in whatever file: as several writers would leave a checkpoint.
TEST_P(Resume, FromACheckpointOfSeveralFiles) {
  const TemporaryFolder folder;
  const RunConfig config = run_of(folder.path());
  const PretrainResult whole = run(config, folder / "whole");
  const PretrainResult first = run(config, folder / "parts", {.stop_after = 7});
  fs::rename(first.checkpoint, folder / "of-one");
  CheckpointWriter writer(folder / "parts" / "checkpoints", 7);
  for (const char* name : {"config.json", "train_state.json"})
    writer.add_file(name, [&](FileWriter& file) { file.write(read_file(folder / "of-one" / name)); });
  for (const std::string stem : {"model", "optimizer"}) {
    const SafetensorsFile file(folder / "of-one" / (stem + ".safetensors"));
    std::vector<TensorToWrite> parts[3];
    nlohmann::ordered_json weight_map;
    for (size_t i = 0; i < file.tensors().size(); ++i) {
      const TensorView& tensor = file.tensors()[i];
      parts[i % 3].push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes.data()});
      weight_map[tensor.name] = fmt::format("{}-{}.safetensors", stem, i % 3);
    }
    for (int i = 0; i < 3; ++i) writer.add_tensors(fmt::format("{}-{}.safetensors", stem, i), parts[i]);
    writer.add_json(stem + ".safetensors.index.json", {{"weight_map", weight_map}});
  }
  const Checkpoint of_three = writer.commit();
  RunConfig nothing_left_to_do = config;  // what is there is exported, and no validation makes another checkpoint of it
  nothing_left_to_do.train.steps = 7;
  nothing_left_to_do.data.valid = {};
  const PretrainResult nothing_left = run(nothing_left_to_do, folder / "parts", {.resume = true});
  for (const char* file : {"model-0.safetensors", "model-2.safetensors", "model.safetensors.index.json"})
    EXPECT_EQ(xxh3_of_file(nothing_left.model / file), xxh3_of_file(of_three.folder / file)) << file;
  const PretrainResult second = run(config, folder / "parts", {.resume = true});
  expect_same_checkpoint(whole.checkpoint, second.checkpoint);
  EXPECT_FALSE(fs::exists(second.model / "model-2.safetensors"));  // replaced as a whole
}

// What follows a checkpoint is computed again after a crash, and lines written meanwhile are dropped.
TEST_P(Resume, FromAnOlderCheckpointDropsLaterMetrics) {
  const TemporaryFolder folder;
  const RunConfig config = run_of(folder.path());
  const PretrainResult whole = run(config, folder / "run");
  const std::vector<std::string> lines = metrics(folder / "run");
  fs::rename(folder / "run" / "checkpoints" / "step-00000012", folder / "kept");
  fs::resize_file(folder / "run" / "checkpoints" / "step-00000010" / "optimizer.safetensors",
                  100);  // damaged: not used
  const PretrainResult again = run(config, folder / "run", {.resume = true});
  expect_same_checkpoint(folder / "kept", again.checkpoint);
  EXPECT_EQ(metrics(folder / "run"), lines);
}
INSTANTIATE_TEST_SUITE_P(Models, Resume,
                         testing::Combine(testing::Values(Kind::kDense, Kind::kMoe),
                                          testing::Values(Variant{"1", 1, PrecisionChoice::kFp32, false},
                                                          Variant{"2", 2, PrecisionChoice::kFp32, false},
                                                          Variant{"bf16", 2, PrecisionChoice::kBf16, false},
                                                          Variant{"bf16recompute", 2, PrecisionChoice::kBf16, true},
                                                          Variant{"muon", 2, PrecisionChoice::kFp32, false,
                                                                  MatrixOptimizer::kMuon},
                                                          Variant{"muonBf16", 2, PrecisionChoice::kBf16, false,
                                                                  MatrixOptimizer::kMuon})),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) == Kind::kMoe ? "moe" : "dense") +
                                  std::get<1>(info.param).name;
                         });

void expect_same_bits_for_any_threads(bool muon) {
  for (const Kind kind : {Kind::kDense, Kind::kMoe}) {
    const TemporaryFolder folder;
    RunConfig config = small_run(folder.path(), kind);
    if (muon) use_muon(config.train);
    const int threads = omp_get_max_threads();
    std::vector<PretrainResult> results;
    for (const int n : {1, 2, 3}) {
      omp_set_num_threads(n);
      results.push_back(run(config, folder / fmt::format("threads-{}", n)));
    }
    omp_set_num_threads(threads);
    expect_same_checkpoint(results[0].checkpoint, results[1].checkpoint);
    expect_same_checkpoint(results[0].checkpoint, results[2].checkpoint);
  }
}

TEST(Threads, DoNotChangeABit) { expect_same_bits_for_any_threads(false); }
TEST(Threads, DoNotChangeABitOfMuon) { expect_same_bits_for_any_threads(true); }

// Everything that the recipe `modern` is at once, with experts in every layer: stopped in the middle, and gone on with
// another number of threads.
TEST(Modern, WithExpertsComputesTheSameBitsStoppedOrNotForAnyThreads) {
  const TemporaryFolder folder;
  std::ofstream(folder / "modern.toml") << R"(
recipe = "modern"
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 48
vocab_size = 40
context = 16
[model.moe]
num_experts = 6
every = 1
top_k = 2
expert_d_ff = 24
capacity = "dropless"
aux_loss_weight = 0.01
[train]
steps = 4
batch_sequences = 8
micro_sequences = 4
valid_every = 2
)";
  const int threads = omp_get_max_threads();
  for (const std::string precision : {"fp32", "bf16"}) {
    SCOPED_TRACE(precision);
    RunConfig config = load_run_config(folder / "modern.toml", {"train.precision=" + precision});
    ASSERT_EQ(config.train.optimizer.matrices, MatrixOptimizer::kMuon);
    config.data = small_run(folder / ("data-" + precision), Kind::kMoe).data;
    const auto with = [&](int n, const std::string& name, RunOptions options = {}) {
      omp_set_num_threads(n);
      const PretrainResult result = run(config, folder / (precision + name), options);
      omp_set_num_threads(threads);
      return result;
    };
    const PretrainResult one = with(1, "one"), two = with(2, "two");
    expect_same_checkpoint(one.checkpoint, two.checkpoint);
    ASSERT_EQ(with(1, "parts", {.stop_after = 2}).step, 2);
    const PretrainResult parts = with(2, "parts", {.resume = true});
    ASSERT_EQ(parts.step, 4);
    expect_same_checkpoint(one.checkpoint, parts.checkpoint);
    EXPECT_EQ(metrics(folder / (precision + "parts")), metrics(folder / (precision + "one")));
  }
}

// Momentum of all that is trained; second moments of what Adam moves.
TEST(Pretrain, CheckpointsUnderMuonHoldNoSecondMomentOfMatrices) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kMoe);
  use_muon(config.train);
  const PretrainResult result = run(config, folder / "run");
  const SafetensorsFile moments(result.checkpoint / "optimizer.safetensors");
  int64_t first = 0, second = 0;
  for (const TensorView& tensor : moments.tensors()) {
    first += tensor.name.starts_with("m."), second += tensor.name.starts_with("v.");
    const bool of_adam = tensor.shape.size() == 1 || tensor.name.find("embed") != tensor.name.npos ||
                         tensor.name.find("router") != tensor.name.npos;
    EXPECT_TRUE(of_adam || tensor.name.starts_with("m.")) << tensor.name;
  }
  EXPECT_GT(second, 0);
  EXPECT_GT(first, second);
}

// Moments in bf16 are half as long in files, from which a run of either type goes on, one of the same type bit by bit;
// they learn what float32 learns.
TEST(Moments, InBf16) {
  const TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), Kind::kMoe), other = config;
  config.train.steps = other.train.steps = 40;
  other.train.optimizer.moments = Precision::kBf16;
  const auto last_nll = [](const fs::path& run) {
    return nlohmann::json::parse(metrics(run).back())["nll"].get<double>();
  };
  const PretrainResult wide = run(config, folder / "wide"), half = run(other, folder / "half");
  EXPECT_NEAR(last_nll(folder / "half"), last_nll(folder / "wide"), 0.01);
  for (const auto& [result, dtype] : {std::pair{&half, DType::kBf16}, {&wide, DType::kF32}}) {
    const SafetensorsFile moments(result->checkpoint / "optimizer.safetensors");
    for (const TensorView& tensor : moments.tensors()) EXPECT_EQ(tensor.dtype, dtype) << tensor.name;
  }
  run(other, folder / "parts", {.stop_after = 17});
  expect_same_checkpoint(run(other, folder / "parts", {.resume = true}).checkpoint, half.checkpoint);
  config.train.steps = other.train.steps = 44;
  run(other, folder / "wide", {.resume = true}), run(config, folder / "half", {.resume = true});
  EXPECT_NEAR(last_nll(folder / "half"), last_nll(folder / "wide"), 0.01);
}

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

TEST(Pretrain, RefusesToMixRuns) {
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

TEST(Pretrain, CheckpointsThatCannotBeReadAreNeverWrittenOver) {
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

TEST(Pretrain, AFinishedRunWithoutCheckpointsIsNotStartedAgain) {
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
TEST(Pretrain, ARunWithoutAnyCheckpointYetStartsAgain) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  PretrainOptions options;
  options.run = folder / "run";
  options.metrics = [](const auto&) { throw std::runtime_error("killed"); };
  EXPECT_THROW(pretrain(config, "test.toml", options), std::runtime_error);
  EXPECT_FALSE(fs::exists(folder / "run/checkpoints"));
  EXPECT_EQ(run(config, folder / "run", {.resume = true}).step, 12);
}

TEST(Pretrain, GoesOnFromAnOlderCheckpointPlainlyAndKeepsTheDamagedOne) {
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

TEST(Pretrain, ConfigurationSaysWhatWasComputed) {
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

TEST(Pretrain, HistorySaysWhatComputedTheRunAndOnlyGrows) {
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

TEST(Pretrain, AValidationThatWasLeftOutIsMadeUpForOnce) {
  const TemporaryFolder folder;
  const RunConfig config = small_run(folder.path(), Kind::kDense);
  run(config, folder / "run", {.stop_after = 12});  // a signal during the last update
  const size_t without = metrics(folder / "run").size();
  for (int i = 0; i < 2; ++i) {
    run(config, folder / "run", {.resume = true});
    EXPECT_EQ(metrics(folder / "run").size(), without + 1);
  }
}

TEST(Pretrain, OneWriterAtATime) {
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
