// Runs of pretraining as tests make them: stopped where they ask, and what is left of them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "train/pretrain.h"

namespace troupe::test {

struct RunOptions {
  bool resume = false;
  int64_t stop_after = -1;  // as if a signal came during this update
};

inline PretrainResult run(const RunConfig& config, const std::filesystem::path& folder, RunOptions options = {}) {
  int64_t done = 0;
  PretrainOptions pretrain_options;
  pretrain_options.run = folder;
  pretrain_options.resume = options.resume;
  pretrain_options.step = [&](const StepStats& stats, int64_t, double) { done = stats.step; };
  pretrain_options.interrupted = [&] { return done == options.stop_after; };
  return pretrain(config, "test.toml", pretrain_options);
}

// Lines of metrics.jsonl without what depends on the clock.
inline std::vector<std::string> metrics(const std::filesystem::path& folder) {
  std::vector<std::string> lines;
  const std::string text = read_file(folder / "metrics.jsonl");
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    auto line = nlohmann::ordered_json::parse(text.substr(begin, end - begin));
    for (const char* clock : {"tokens_per_s", "time_s", "mfu", "provenance"}) line.erase(clock);
    lines.push_back(line.dump());
  }
  return lines;
}

inline void expect_same_checkpoint(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(xxh3_of_file(a / file), xxh3_of_file(b / file)) << a << " and " << b << ": " << file;
}

inline void use_muon(TrainConfig& train) {
  train.optimizer.matrices = MatrixOptimizer::kMuon;
  train.optimizer.lr.matrices = 0.02;
  train.muon.weight_decay = 0.1;
}

}  // namespace troupe::test
