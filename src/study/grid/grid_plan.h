// What a grid will cost, and which of its trainings fit into max_hours. A function of configuration and speeds alone,
// so that all processes of a study have one plan.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "study/grid/grid.h"
#include "study/grid/speeds.h"

namespace troupe {

// One training, or the trials of one model, which stay together.
struct PlannedWork {
  size_t point = 0;
  bool trials = false;
  int64_t seed = 0;       // unless trials
  int64_t trainings = 1;  // of trials: their number. The best of them is the point's own training of the first seed
  double flops = 0.0, seconds = 0.0;  // of each; seconds are NaN where no speed is known
  bool fits = true;                   // within max_hours
  int64_t done = 0;                   // of its trainings, by count_done()
};

struct GridPlan {
  struct Epochs {
    std::string domain;
    int64_t tokens = 0;  // that there are
    double most = 0.0;   // times that the longest run reads it
  };
  std::vector<PlannedWork> work;  // cheapest first
  std::vector<Epochs> epochs;     // empty until the text is encoded
  double max_hours = 0.0;
  int64_t memory_bytes = 0;  // the most of one training
  std::optional<int64_t> free_memory_bytes;
  int64_t disk_bytes = 0;  // at once, of one process, without the data

  int64_t trainings() const;  // that fit
  double flops() const;
  double seconds() const;
  int64_t left_out() const;
  int64_t done() const;  // of those that fit
  double flops_to_do() const;
  double seconds_to_do() const;
};

GridPlan plan_grid(const Grid& grid, const GridConfig& config, const Speeds& speeds);
// Fills epochs. Throws kUsage for a run that would read a domain more than max_epochs times.
void count_epochs(GridPlan& plan, const Grid& grid, const StudyConfig& config, const StudyData& data);

// Fills done: what is finished in OUT/runs, whatever its settings (GridRuns::look_for_stale() compares them).
void count_done(GridPlan& plan, const Grid& grid, const std::filesystem::path& runs);

// "troupe.study.plan/1", and the same as tables and lines.
nlohmann::ordered_json to_json(const GridPlan& plan, const Grid& grid, const Speeds& speeds);
std::vector<std::vector<std::string>> models_table(const Grid& grid, const Speeds& speeds);
std::vector<std::vector<std::string>> budgets_table(const GridPlan& plan, const Grid& grid);
std::vector<std::vector<std::string>> epochs_table(const GridPlan& plan);
std::vector<std::string> plan_notes(const GridPlan& plan, const Grid& grid, const Speeds& speeds);

}  // namespace troupe
