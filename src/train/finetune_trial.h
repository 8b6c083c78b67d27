// One training of a fine-tuning: a task or several, at one rate and with one seed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/finetune.h"

namespace troupe {

struct Trial {
  double lr = 0.0;
  int64_t seed = 0;
  std::filesystem::path folder;
  RunConfig config;  // with all that follows from rate, seed and data
};

// Trains, or goes on, and writes trial.folder; false if it was interrupted. `zero_shot` is what another trial of the same
// sources found before its first update, which is the same for all; empty: not known yet.
bool run_trial(const Trial& trial, const std::vector<FinetuneSource>& sources,
               const std::vector<FinetuneLine>& zero_shot, const FinetuneModel& model, const std::string& where,
               const FinetuneOptions& options);

}  // namespace troupe
