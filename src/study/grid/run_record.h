// result.json of a run: what is left of a training when its checkpoints are gone. Written when the run is trained, with
// its score for the choice of a learning rate, and again when it is measured, with every domain.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "study/grid/grid_tasks.h"
#include "study/result.h"
#include "train/run_config.h"

namespace troupe {

enum class RunStatus { kOk, kDiverged };
template <>
struct EnumNames<RunStatus> {
  static constexpr std::array<std::pair<std::string_view, RunStatus>, 2> values = {
      {{"ok", RunStatus::kOk}, {"diverged", RunStatus::kDiverged}}};
};

struct RunRecord {
  static constexpr const char* kFile = "result.json";
  RunStatus status = RunStatus::kOk;
  std::string error;            // of a diverged run
  std::string config;           // its config.toml
  std::string data;             // checksum of the study's data
  int64_t valid_tokens = 0;     // study.valid_tokens of the measures
  double validation_nll = 0.0;  // mean over the training domains' validation text after the last update
  double elapsed_s = 0.0;       // in training steps, with whatever else ran
  std::string precision, device;
  double energy_j = kNan;  // that the machine's processors took meanwhile (base/energy.h)
  bool measured = false;
  std::vector<DomainResult> domains;
  std::vector<TaskScores> tasks;
  nlohmann::json provenance;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.run/1");
    v("status", status), v("error", error), v("config", config), v("data", data), v("valid_tokens", valid_tokens);
    v("validation_nll", validation_nll), v("elapsed_s", elapsed_s), v("precision", precision), v("device", device);
    v("measured", measured), v("domains", domains), v("provenance", provenance);
    v.may_lack("energy_j", energy_j), v.may_lack("tasks", tasks);
  }
};

// Nothing if the run has none yet. Throws kData for a damaged one.
std::optional<RunRecord> read_record(const std::filesystem::path& run);
void write_record(const std::filesystem::path& run, const RunRecord& record);

// "train.schedule.lr: 0.003 in the run, 0.006 in the study" for everything that decides a run's results and differs:
// settings, data, and what a measured run was measured on. The folder's config.toml stands for a run that has not
// ended. Settings that an older version did not know have their defaults.
std::vector<std::string> stale_because(const std::filesystem::path& run, const RunConfig& config,
                                       const std::string& data, int64_t valid_tokens);

}  // namespace troupe
