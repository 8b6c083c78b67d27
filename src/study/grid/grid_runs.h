// The runs of a grid, each in its folder OUT/runs/RUN: trained, measured on every text, scored on tasks. What a run has
// got is written at once, and never made again.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "dist/team.h"
#include "study/grid/grid.h"
#include "study/grid/grid_tasks.h"
#include "study/grid/run_record.h"
#include "study/study.h"
#include "train/pretrain.h"

namespace troupe {

// Throws kInterrupted, saying where.
void stop_if_interrupted(const StudyEvents& events, const char* where);

// What the ranks of a study do together.
struct GridOrder {
  enum What { kProbe, kTrain, kMeasure, kScoreTasks } what = kProbe;
  size_t model = 0;      // of a probe
  double seconds = 0.0;  // of a probe
  GridRun run;
};

// Of several ranks the first one decides and writes, and calls all to train, measure and score.
class GridRuns {
 public:
  GridRuns(const StudyConfig& config, const std::filesystem::path& out, const Grid& grid, const StudyData& data,
           const GridTasks& tasks, const std::function<double()>& measure_peak, const StudyEvents& events,
           Communicator* ranks, Team<GridOrder>& team);

  std::filesystem::path folder(const GridRun& run) const;

  // Throws kUsage for runs that were made with other settings, naming what differs, or with `redo` removes them. Of
  // those with rates that are not known yet only what their folders say.
  void look_for_stale(bool redo) const;

  // `final`: a point of the results, which is measured; others are trials of a learning rate.
  bool is_done(const GridRun& run, bool final) const;
  void make(const GridRun& run, bool final);  // what is left to do; the caller has claimed the folder

  // Unless models are kept, or another process is at the run.
  void drop_model(const GridRun& run) const;

  // What all ranks do, of a run.
  void obey(const GridOrder& order);

 private:
  RunConfig config_of(const GridRun& run) const;
  std::optional<GridRun> run_of(size_t point, const std::filesystem::path& rate,
                                const std::filesystem::path& seed) const;
  void begin_anew_if_broken(const GridRun& run) const;
  RunRecord train(const GridRun& run);
  void measure(const GridRun& run, RunRecord& record);
  void score_tasks(const GridRun& run, RunRecord& record);
  void train_together(const GridRun& run);
  void measure_together(const GridRun& run);
  void score_tasks_together(const GridRun& run);

  const StudyConfig& config_;
  const std::filesystem::path folder_;
  const Grid& grid_;
  const StudyData& data_;
  const std::string data_checksum_;
  const GridTasks& tasks_;
  const std::function<double()>& measure_peak_;
  const StudyEvents& events_;
  Communicator* ranks_;
  Team<GridOrder>& team_;
  // Of the last order.
  PretrainResult trained_;
  double energy_j_ = 0.0;
  std::vector<DomainResult> domains_;
  std::vector<TaskScores> task_scores_;
};

}  // namespace troupe
