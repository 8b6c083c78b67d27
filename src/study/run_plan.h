// What a training run will take, before it starts: data, computation, memory, disk and time. Writes nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/machine.h"
#include "data/loader/loader.h"
#include "train/run_config.h"

namespace troupe {

struct RunPlan {
  struct Domain {
    std::string name;
    int64_t tokens = 0;  // that the run reads of it
    double share = 0.0, epochs = 0.0;
  };
  std::vector<Domain> domains;
  int64_t updates = 0, tokens = 0;
  int64_t updates_done = 0;  // of a run to resume
  int64_t params = 0, active_params = 0;
  double flops_per_token = 0.0, train_flops = 0.0;
  int64_t memory_bytes = 0;  // needed
  std::optional<int64_t> free_memory_bytes;
  int64_t checkpoint_bytes = 0;  // one
  int64_t disk_bytes = 0;        // all that are there at once, and the exported models
  std::optional<int64_t> free_disk_bytes;
  double tokens_per_s = 0.0, seconds = 0.0;  // of the updates that are left; 0 where nothing was measured

  bool memory_fits() const { return !free_memory_bytes || memory_bytes <= *free_memory_bytes; }
  bool disk_fits() const { return !free_disk_bytes || disk_bytes <= *free_disk_bytes; }
};

// Opens and checks everything that the run would, and throws as it would. A few training steps on random tokens measure
// the speed, for about `probe_seconds`, if the memory is there; 0: none.
RunPlan plan_run(const RunConfig& config, const std::string& where, const std::filesystem::path& run, bool resume,
                 const Machine& machine, double probe_seconds);

nlohmann::ordered_json to_json(const RunPlan& plan);  // "troupe.train.plan/1"

}  // namespace troupe
