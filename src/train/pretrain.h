// A training run from a configuration file to a model: the recipe around Trainer::step(). What it reads is opened by
// train/run_data.h, what it writes goes to a train/run_folder.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/run_config.h"
#include "train/trainer.h"

namespace troupe {

TrainerOptions trainer_options(const TrainConfig& train);

// Throws kUsage for what several ranks cannot do.
void check_one_process_keys(const RunConfig& config, const std::string& where, int ranks);
// Also unless every one of so many ranks has sequences of every micro-batch.
void check_shares(const RunConfig& config, const std::string& where, int ranks);

struct PretrainOptions {
  std::filesystem::path run;  // the folder
  bool resume = false;        // go on from the newest complete checkpoint; without one start from the beginning
  // Measures the peak of the machine in the run's precision now, FLOP/s, for mfu; asked every few seconds. May be
  // empty.
  std::function<double()> measure_peak;

  // What happens meanwhile; each may be empty. All are called on the calling thread.
  std::function<void(const StepStats& stats, int64_t steps, double seconds)> step;  // after each update
  std::function<void(const nlohmann::ordered_json& line)> metrics;                  // each line of metrics.jsonl
  // Share the work: all call pretrain() with the same configuration. The first alone writes to the folder and calls step
  // and metrics. nullptr: one process.
  Communicator* ranks = nullptr;
  std::function<bool()> interrupted;  // asked after each update: true writes a checkpoint and stops
};

struct PretrainResult {
  int64_t step = 0;  // updates done
  bool interrupted = false;
  std::filesystem::path model;       // empty if interrupted
  std::filesystem::path checkpoint;  // the newest
};

// Throws kUsage for a bad configuration, a run folder that already has checkpoints (without resume) or ones of another
// run; kData for bad data, and for a folder that held a run of which no checkpoint can be read; kEnvironment if another
// process writes to the folder; kNonFinite naming step and tensor, in which case every checkpoint stays as it was.
PretrainResult pretrain(const RunConfig& config, const std::string& where, const PretrainOptions& options);

}  // namespace troupe
