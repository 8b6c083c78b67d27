#include "study/grid/grid_rates.h"

#include <cmath>

#include "base/log.h"

namespace troupe {

GridRun GridRates::trial_of(size_t model, double lr) const {
  const GridPoint& point = grid_.smallest(model);
  return {static_cast<size_t>(&point - grid_.points.data()), lr, point.seeds.front()};
}

TrialScores GridRates::scores(size_t model, std::vector<double>& missing) const {
  TrialScores finished;
  for (;;) {
    missing = rates_to_try(own_rate(model), config_.grid.lr_trials, finished);
    const size_t before = finished.size();
    for (const double rate : missing)
      if (const auto record = read_record(runs_.folder(trial_of(model, rate))))
        finished[rate] = record->status == RunStatus::kOk ? record->validation_nll : INFINITY;
    if (finished.size() == before) return finished;
  }
}

std::optional<double> GridRates::rate(size_t model) {
  if (!has_trials()) return own_rate(model);
  if (const auto known = rates_.find(model); known != rates_.end()) return known->second;
  std::vector<double> missing;
  const TrialScores finished = scores(model, missing);
  if (!missing.empty()) return std::nullopt;
  const BestRate best = best_rate(finished);
  if (std::isfinite(finished.at(best.lr))) {
    log::info("{}: learning rate {} by {} trials{}", grid_.models[model].name(), best.lr, finished.size(),
              best.inside ? "" : ", the last of its grid: a better one may lie beyond");
  } else {
    hopeless_.insert(model);
    log::warning("{}: every trial of a learning rate diverged: its other runs are left out",
                 grid_.models[model].name());
  }
  return rates_[model] = best.lr;
}

void GridRates::drop_losers() {
  for (const auto& [model, best] : rates_) {
    if (!losers_dropped_.insert(model).second) continue;
    std::vector<double> missing;
    for (const auto& [lr, score] : scores(model, missing))
      if (lr != best) runs_.drop_model(trial_of(model, lr));
  }
}

}  // namespace troupe
