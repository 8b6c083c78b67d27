// A study with a grid: every run is a folder, done by whichever process claims it first, cheapest first.
//
//   OUT/data/            tokenizer and shards (study_data.h)
//   OUT/speeds.json      tokens per second of every family and size, measured once (grid/speeds.h)
//   OUT/runs/RUN/        a training (train/pretrain.h) until it is measured; then result.json and its logs are left
//   OUT/points.csv, OUT/trials.csv, OUT/documents.csv.zst, OUT/factors.csv, OUT/fits.csv,
//   OUT/report.html, OUT/report.md, OUT/figures/
//                        written anew whenever a run is finished; factors and report every few minutes, and at the end
//
// What is finished is never done again, an interrupted run goes on from its checkpoint, one whose process died is taken
// over, and one that diverged is a point marked so.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "study/grid/grid_plan.h"
#include "study/grid/grid_tables.h"
#include "study/study.h"

namespace troupe {

struct GridOptions {
  bool redo_stale = false;      // throw away runs whose settings are no longer those of the study
  bool measure_speeds = false;  // again
};

// What it will cost; writes nothing. `grid` is make_grid() of `config`, here and below. Epochs are known once the text is
// encoded, speeds once they are measured, or they are measured for this (and not kept).
struct GridForecast {
  Grid grid;
  Speeds speeds;
  GridPlan plan;
};
GridForecast forecast_grid(const StudyConfig& config, Grid grid, const std::string& where,
                           const std::filesystem::path& out, const StudyEvents& events);

// `ranks` as in run_study(). `config` has passed check(). `planned` is called once before anything is trained. Throws
// kUsage for a configuration that cannot be and for stale runs, naming each and what differs; kInterrupted when
// events.interrupted() was true.
GridResults run_grid(const StudyConfig& config, Grid grid, const std::string& where, const std::filesystem::path& out,
                     const GridOptions& options, const std::function<double()>& measure_peak,
                     const std::function<void(const GridForecast&)>& planned, const StudyEvents& events,
                     Communicator* ranks = nullptr);

}  // namespace troupe
