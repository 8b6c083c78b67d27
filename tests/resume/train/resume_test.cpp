// A run that is stopped and resumed computes what one that was not stopped computes: same parameters and moments to the
// bit, same lines of metrics, for any number of threads.
#include "train/pretrain.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "io/checksum.h"
#include "io/safetensors.h"
#include "pretraining.h"
#include "temporary_folder.h"
#include "training.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::expect_same_checkpoint;
using test::Kind;
using test::metrics;
using test::run;
using test::RunOptions;
using test::small_run;
using test::TemporaryFolder;
using test::use_muon;

struct Variant {
  const char* name;
  int threads;
  PrecisionChoice precision;
  bool recompute;
  MatrixOptimizer matrices = MatrixOptimizer::kAdam;
};

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

}  // namespace
}  // namespace troupe
