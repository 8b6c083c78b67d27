#include "study/grid/grid_study.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/clock.h"
#include "base/energy.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/utf8.h"
#include "data/shards/dataset.h"
#include "study/grid/claim.h"
#include "study/grid/factors.h"
#include "study/grid/grid_page.h"
#include "study/grid/grid_rates.h"
#include "study/grid/grid_report.h"
#include "study/grid/grid_runs.h"
#include "study/grid/grid_tasks.h"
#include "study/metrics_history.h"
#include "study/probe.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

StudyData claim_data(const StudyConfig& config, const fs::path& out, const StudyEvents& events) {
  const auto lock = claim(out / "data", events.interrupted);
  return prepare_study_data(config.corpus, config.vocab_size, out);
}

class GridStudy {
 public:
  GridStudy(const StudyConfig& config, const fs::path& out, const GridForecast& forecast, const StudyData& data,
            const GridTasks& tasks, const GridOptions& options, const StudyEvents& events, GridRuns& runs)
      : out_(out),
        grid_(forecast.grid),
        speeds_(forecast.speeds),
        plan_(forecast.plan),
        data_(data),
        redo_stale_(options.redo_stale),
        events_(events),
        runs_(runs),
        rates_(config, forecast.grid, runs_) {
    results_.grid = grid_, results_.speeds = speeds_;
    results_.tasks = tasks.facts();
    results_.texts = data.evaluation, results_.domains = table_names(data.evaluation);
    for (const GridPoint& point : grid_.points) results_.epochs.push_back(epochs_of(point));
  }

  GridResults go() {
    runs_.look_for_stale(redo_stale_);
    if (!std::isfinite(EnergyMeter().joules()))
      log::info("energy: this machine reports none (/sys/class/powercap), so that it stays empty in runs.csv");
    try {
      do_runs();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted && factors_are_behind_) write(true);  // it may never go on
      throw;
    }
    collect();
    say_what_lacks_tasks();
    write(true);
    return results_;
  }

 private:
  struct Found {
    std::unique_ptr<WriterLock> lock;  // none: nothing is left, or it is with others
    GridRun run;
    bool final = false;
    int64_t others = 0;
  };

  double epochs_of(const GridPoint& point) const {
    int64_t tokens = 0;  // of all domains, which are read in proportion to their size
    for (const StudyDomain& domain : data_.train) tokens += TokenDataset(domain.dataset).tokens();
    return static_cast<double>(grid_.tokens(point)) / static_cast<double>(tokens);
  }

  // Trainings that could be done now, cheapest first, and whether each is a point of the results.
  std::vector<std::pair<GridRun, bool>> to_do() {
    std::vector<std::pair<GridRun, bool>> runs;
    for (const PlannedWork& item : plan_.work) {
      if (!item.fits) continue;
      const GridPoint& point = grid_.points[item.point];
      const int64_t seed = item.trials ? point.seeds.front() : item.seed;
      if (const auto lr = rates_.rate(point.model)) {
        if (item.trials || !rates_.is_hopeless(point.model)) runs.push_back({{item.point, *lr, seed}, true});
      } else if (item.trials) {
        std::vector<double> missing;
        rates_.scores(point.model, missing);
        for (const double trial : missing) runs.push_back({{item.point, trial, seed}, false});
      }
    }
    return runs;
  }

  Found find_work() {
    Found found;
    for (const auto& [run, final] : to_do()) {
      if (done_.contains(name(grid_, run)) || runs_.is_done(run, final)) {
        if (final && done_.insert(name(grid_, run)).second) runs_.drop_model(run);
        continue;
      }
      found.lock = try_claim(runs_.folder(run));
      if (!found.lock) {
        ++found.others;
      } else if (runs_.is_done(run, final)) {  // by another, just now
        found.lock.reset();
      } else {
        found.run = run, found.final = final;
        return found;
      }
    }
    return found;
  }

  // Until nothing is left.
  void do_runs() {
    for (bool waited = false;;) {
      const Found found = find_work();
      rates_.drop_losers();
      if (found.lock) {
        runs_.make(found.run, found.final);
        collect();
        write(false);
        waited = false;
      } else if (!found.others) {
        break;
      } else {
        if (!waited) log::info("waiting for others: {} runs are theirs", found.others);
        waited = true;
        wait_a_moment(2.0, events_.interrupted);
      }
      stop_if_interrupted(events_, "between two runs");
    }
  }

  // A study that has begun may ask for tasks; runs whose model is gone have none.
  void say_what_lacks_tasks() const {
    if (const int64_t lack = without_tasks(results_); lack > 0)
      log::warning("{} without scores of tasks: measured before these were asked for, and the models are gone",
                   counted(lack, "run"));
  }

  void collect() {
    results_.finals.clear(), results_.trials.clear();
    for (size_t model = 0; rates_.has_trials() && model < grid_.models.size(); ++model) {
      std::vector<double> missing;
      const TrialScores finished = rates_.scores(model, missing);
      const BestRate best = missing.empty() && !finished.empty() ? best_rate(finished) : BestRate{};
      for (const auto& [lr, nll] : finished)
        results_.trials.push_back({.run = rates_.trial_of(model, lr),
                                   .nll = nll,
                                   .chosen = lr == best.lr,
                                   .inside = lr == best.lr && best.inside});
    }
    for (size_t p = 0; p < grid_.points.size(); ++p) {
      const auto lr = rates_.rate(grid_.points[p].model);
      for (const int64_t seed : grid_.points[p].seeds) {
        if (!lr) continue;
        const GridRun run{p, *lr, seed};
        if (const auto record = read_record(runs_.folder(run));
            record && (record->measured || record->status != RunStatus::kOk))
          results_.finals.push_back({run, *record, routers_of(run)});
      }
    }
  }

  int64_t unfinished() const {
    int64_t runs = -static_cast<int64_t>(results_.finals.size());
    for (const GridPoint& point : grid_.points) runs += static_cast<int64_t>(point.seeds.size());
    return runs;
  }

  // What routers did at the end of a training: of its log, which is kept.
  const std::vector<RouterLine>& routers_of(const GridRun& run) {
    const std::string label = name(grid_, run);
    if (const auto known = routers_.find(label); known != routers_.end()) return known->second;
    std::vector<RouterLine>& routers = routers_[label];
    const fs::path file = RunFiles{runs_.folder(run)}.metrics();
    if (grid_.models[grid_.points[run.point].model].config.model.num_moe_layers() == 0) return routers;
    try {
      if (MetricsHistory history = read_metrics(file); !history.train.empty())
        routers = std::move(history.train.back().moe);
    } catch (const Error& error) {
      log::warning("{}: no row of routers.csv: {}", label, error.what());
    }
    return routers;
  }

  // Factors and report, which take longer, when nothing is left or it is interrupted, and now and then before.
  void write(bool all) {
    constexpr double kFactorsEverySeconds = 300.0;
    const auto lock = claim(out_ / "points.csv", events_.interrupted);
    write_tables(out_, results_);
    factors_are_behind_ = true;
    if (!all && factors_written_ && seconds_since(*factors_written_) < kFactorsEverySeconds) return;
    const Factors factors = make_factors(results_);
    const Factors by_tasks = make_task_factors(results_);
    write_factors(out_, factors);
    write_task_factors(out_, results_, by_tasks);
    write_grid_report(out_, grid_report(results_, factors, by_tasks, unfinished()));
    factors_written_ = Clock::now();
    factors_are_behind_ = false;
  }

  const fs::path out_;
  const Grid& grid_;
  const Speeds& speeds_;
  const GridPlan& plan_;
  const StudyData& data_;
  const bool redo_stale_;
  const StudyEvents& events_;
  GridRuns& runs_;
  GridRates rates_;
  std::set<std::string> done_;                              // final runs that are
  std::map<std::string, std::vector<RouterLine>> routers_;  // of finished runs
  std::optional<Clock::time_point> factors_written_;
  bool factors_are_behind_ = false;  // the tables have runs that they lack
  GridResults results_;
};

void require_utf8(const fs::path& out) {
  if (find_invalid_utf8(out.string()))
    fail(ErrorCode::kUsage, "{}: expected a folder whose path is UTF-8, since the configuration of each run names it",
         out.string());
}

}  // namespace

GridForecast forecast_grid(const StudyConfig& config, Grid grid, const std::string& where, const fs::path& out,
                           const StudyEvents& events) {
  require_utf8(out);
  GridForecast forecast{.grid = std::move(grid), .speeds = {}, .plan = {}};
  const GridTasks tasks(config, where);  // checked as the study would
  forecast.speeds = read_speeds(out / "speeds.json");
  const bool known = std::all_of(forecast.grid.models.begin(), forecast.grid.models.end(),
                                 [&](const GridModel& model) { return forecast.speeds.of(model) > 0.0; });
  if (!known && config.grid.speed_seconds > 0.0)
    forecast.speeds = probe_speeds(
        forecast.grid, config.grid.speed_seconds, forecast.speeds,
        [&](size_t model, double seconds) { return probe_training(forecast.grid.models[model].config, seconds); }, events);
  forecast.plan = plan_grid(forecast.grid, config.grid, forecast.speeds);
  if (is_prepared(config.corpus, config.vocab_size, out))
    count_epochs(forecast.plan, forecast.grid, config, prepare_study_data(config.corpus, config.vocab_size, out));
  count_done(forecast.plan, forecast.grid, out / "runs");
  return forecast;
}

GridResults run_grid(const StudyConfig& config, Grid grid, const std::string& where, const fs::path& out,
                     const GridOptions& options, const std::function<double()>& measure_peak,
                     const std::function<void(const GridForecast&)>& planned, const StudyEvents& events,
                     Communicator* ranks) {
  GridForecast forecast{.grid = std::move(grid), .speeds = {}, .plan = {}};
  std::optional<GridTasks> tasks;
  const auto read = [&] {
    require_utf8(out);
    if (ranks)
      for (const GridModel& model : forecast.grid.models) check_shares(model.config, model.path, ranks->size());
    tasks.emplace(config, where);
  };
  run_together(ranks, read, "configuration");
  StudyData data;
  const auto prepare = [&] {
    data = claim_data(config, out, events);
    if (std::none_of(data.evaluation.begin(), data.evaluation.end(), [](const StudyDomain& d) { return !d.held_out; }))
      fail(ErrorCode::kData, "{}: expected validation text of a training domain (valid/), got none", config.corpus);
  };
  run_on_first(ranks, prepare, "data");
  if (!leads(ranks)) data = prepare_study_data(config.corpus, config.vocab_size, out);  // which are there

  double tokens_per_s = 0.0;
  std::optional<GridRuns> runs;
  Team<GridOrder> team(ranks, [&](const GridOrder& order) {
    if (order.what == GridOrder::kProbe)
      tokens_per_s = probe_training(forecast.grid.models[order.model].config, order.seconds, ranks);
    else
      runs->obey(order);
  });
  runs.emplace(config, out, forecast.grid, data, *tasks, measure_peak, events, ranks, team);
  GridResults results;
  team.lead([&] {
    const auto speed = [&](size_t model, double seconds) {
      team.call({.what = GridOrder::kProbe, .model = model, .seconds = seconds});
      return tokens_per_s;
    };
    forecast.speeds = measure_speeds(forecast.grid, config.grid.speed_seconds, options.measure_speeds,
                                     out / "speeds.json", speed, events);
    forecast.plan = plan_grid(forecast.grid, config.grid, forecast.speeds);
    count_epochs(forecast.plan, forecast.grid, config, data);
    count_done(forecast.plan, forecast.grid, out / "runs");
    planned(forecast);
    results = GridStudy(config, out, forecast, data, *tasks, options, events, *runs).go();
  });
  return results;
}

}  // namespace troupe
