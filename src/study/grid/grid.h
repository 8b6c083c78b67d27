// The grid of a study: families x sizes x budgets x seeds, as the configuration names them.
//   point   FAMILY/SIZE/TOKENS            what seeds are averaged over
//   run     FAMILY/SIZE/TOKENS/lr-R/seed-S   one training, and its folder below OUT/runs
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "study/study_config.h"
#include "study/study_data.h"
#include "train/run_config.h"

namespace troupe {

struct GridFamily {
  std::string name, path;  // of its configuration
  RunConfig config;
};

// A family at a size: what has one speed and one learning rate.
struct GridModel {
  std::string family, size, path;
  RunConfig config;  // with this size and the study's vocabulary; without data, budget, seed

  std::string name() const { return family + "/" + size; }
  int64_t update_tokens() const { return config.train.batch_sequences * config.model.context; }
  double flops_per_token() const;
  int64_t params() const;
  int64_t active_params() const;
  int64_t memory_bytes() const;  // of training (study/memory.h)
};

struct GridPoint {
  size_t model = 0;            // into Grid::models
  int64_t budget = 0;          // as configured
  std::vector<int64_t> seeds;  // the first is that of trials
};

struct Grid {
  std::vector<GridFamily> families;
  std::vector<GridModel> models;  // that have a point, families in order, then sizes
  std::vector<GridPoint> points;  // models in order, budgets ascending

  int64_t tokens(const GridPoint& point) const;  // trained on: whole updates
  double train_flops(const GridPoint& point) const;
  std::string name(const GridPoint& point) const;
  const GridPoint& smallest(size_t model) const;  // its cheapest point
};

// Reads the families' files. Throws kUsage naming the file or key: names, sizes, budgets or seeds twice, a size that a
// family cannot have, a pattern without a point, families that differ in context, tokens of an update or vocabulary.
Grid make_grid(const StudyConfig& config, const std::string& file);

// One training.
struct GridRun {
  size_t point = 0;
  double lr = 0.0;
  int64_t seed = 0;
  bool operator==(const GridRun&) const = default;
};
std::string name(const Grid& grid, const GridRun& run);
RunConfig config_of(const Grid& grid, const GridRun& run, const StudyConfig& study, const StudyData& data);

// Fills the study's data and vocabulary into a model's configuration.
void take_data(RunConfig& config, const StudyConfig& study, const StudyData& data);

}  // namespace troupe
