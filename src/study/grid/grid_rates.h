// The learning rate of each model of a grid: by the trials (trials.h) that are finished in their folders.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "study/grid/grid_runs.h"
#include "study/grid/trials.h"

namespace troupe {

class GridRates {
 public:
  GridRates(const StudyConfig& config, const Grid& grid, const GridRuns& runs)
      : config_(config), grid_(grid), runs_(runs) {}

  bool has_trials() const { return config_.grid.lr_trials > 0; }
  GridRun trial_of(size_t model, double lr) const;

  // Scores of the trials of a model that are finished, and the rates to try that are not.
  TrialScores scores(size_t model, std::vector<double>& missing) const;

  // Of a model's points, once no trial is missing.
  std::optional<double> rate(size_t model);
  bool is_hopeless(size_t model) const { return hopeless_.contains(model); }  // every trial diverged

  // Drops the models of trials that were not the best, where the rate is known. For a process that holds no trial.
  void drop_losers();

 private:
  double own_rate(size_t model) const { return grid_.models[model].config.train.schedule.lr; }

  const StudyConfig& config_;
  const Grid& grid_;
  const GridRuns& runs_;
  std::map<size_t, double> rates_;  // of models whose trials are finished
  std::set<size_t> hopeless_, losers_dropped_;
};

}  // namespace troupe
