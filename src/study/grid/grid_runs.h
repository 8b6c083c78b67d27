// The runs of a grid, each in its folder OUT/runs/RUN: trained, measured on every text, scored on tasks. What a run has
// got is written at once, and never made again.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "study/grid/grid.h"
#include "study/grid/grid_tasks.h"
#include "study/grid/run_record.h"
#include "study/study.h"

namespace troupe {

// Throws kInterrupted, saying where.
void stop_if_interrupted(const StudyEvents& events, const char* where);

class GridRuns {
 public:
  GridRuns(const StudyConfig& config, const std::filesystem::path& out, const Grid& grid, const StudyData& data,
           const GridTasks& tasks, const std::function<double()>& measure_peak, const StudyEvents& events);

  std::filesystem::path folder(const GridRun& run) const;

  // Throws kUsage for runs that were made with other settings, naming what differs, or with `redo` removes them. Of
  // those with rates that are not known yet only what their folders say.
  void look_for_stale(bool redo) const;

  // `final`: a point of the results, which is measured; others are trials of a learning rate.
  bool is_done(const GridRun& run, bool final) const;
  void make(const GridRun& run, bool final) const;  // what is left to do; the caller has claimed the folder

  // Unless models are kept, or another process is at the run.
  void drop_model(const GridRun& run) const;

 private:
  RunConfig config_of(const GridRun& run) const;
  std::optional<GridRun> run_of(size_t point, const std::filesystem::path& rate,
                                const std::filesystem::path& seed) const;
  void begin_anew_if_broken(const GridRun& run) const;
  RunRecord train(const GridRun& run) const;
  void measure(const GridRun& run, RunRecord& record) const;
  void score_tasks(const GridRun& run, RunRecord& record) const;

  const StudyConfig& config_;
  const std::filesystem::path folder_;
  const Grid& grid_;
  const StudyData& data_;
  const std::string data_checksum_;
  const GridTasks& tasks_;
  const std::function<double()>& measure_peak_;
  const StudyEvents& events_;
};

}  // namespace troupe
