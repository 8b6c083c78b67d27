#include "study/grid/grid_study.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/clock.h"
#include "base/device.h"
#include "base/energy.h"
#include "base/error.h"
#include "base/log.h"
#include "base/log_prefix.h"
#include "base/quantity.h"
#include "base/utf8.h"
#include "data/shards/dataset.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/provenance.h"
#include "model/model_directory.h"
#include "study/grid/claim.h"
#include "study/grid/factors.h"
#include "study/grid/grid_page.h"
#include "study/grid/grid_report.h"
#include "study/grid/grid_tasks.h"
#include "study/grid/sample.h"
#include "study/grid/trials.h"
#include "study/model_evaluation.h"
#include "train/pretrain.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

StudyData claim_data(const StudyConfig& config, const fs::path& out, const StudyEvents& events) {
  const auto lock = claim(out / "data", events.interrupted);
  return prepare_study_data(config.corpus, config.vocab_size, out);
}

// Of all that runs read and are scored on.
std::string checksum_of(const StudyData& data) {
  std::string all;
  for (const std::vector<StudyDomain>* domains : {&data.train, &data.evaluation})
    for (const StudyDomain& domain : *domains)
      all += fmt::format("{} {} {}\n", domain.held_out, domain.name, TokenDataset(domain.dataset).checksum());
  return to_hex(xxh3(all));
}

class GridStudy {
 public:
  GridStudy(const StudyConfig& config, const fs::path& out, const GridForecast& forecast, const StudyData& data,
            const GridTasks& tasks, const GridOptions& options, const std::function<double()>& measure_peak,
            const StudyEvents& events)
      : config_(config),
        out_(out),
        grid_(forecast.grid),
        speeds_(forecast.speeds),
        plan_(forecast.plan),
        data_(data),
        data_checksum_(checksum_of(data)),
        tasks_(tasks),
        options_(options),
        measure_peak_(measure_peak),
        events_(events) {
    results_.grid = grid_, results_.speeds = speeds_;
    results_.tasks = tasks.facts();
    results_.texts = data.evaluation, results_.domains = table_names(data.evaluation);
    for (const GridPoint& point : grid_.points) results_.epochs.push_back(epochs_of(point));
  }

  GridResults go() {
    look_for_stale_runs();
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

  fs::path folder(const GridRun& run) const { return out_ / "runs" / name(grid_, run); }
  RunConfig run_config(const GridRun& run) const { return config_of(grid_, run, config_, data_); }
  GridRun trial_of(size_t model, double lr) const {
    const GridPoint& point = grid_.smallest(model);
    return {static_cast<size_t>(&point - grid_.points.data()), lr, point.seeds.front()};
  }
  double own_rate(const GridPoint& point) const { return grid_.models[point.model].config.train.schedule.lr; }
  bool has_trials() const { return config_.grid.lr_trials > 0; }

  double epochs_of(const GridPoint& point) const {
    int64_t tokens = 0;  // of all domains, which are read in proportion to their size
    for (const StudyDomain& domain : data_.train) tokens += TokenDataset(domain.dataset).tokens();
    return static_cast<double>(grid_.tokens(point)) / static_cast<double>(tokens);
  }

  void stop_if_interrupted(const char* where) const {
    if (events_.interrupted && events_.interrupted())
      fail(ErrorCode::kInterrupted, "interrupted {}: run the same command again to go on", where);
  }

  // Scores of the trials of a model that are finished.
  TrialScores scores(size_t model, std::vector<double>& missing) const {
    const double own = own_rate(grid_.smallest(model));
    TrialScores finished;
    for (;;) {
      missing = rates_to_try(own, config_.grid.lr_trials, finished);
      const size_t before = finished.size();
      for (const double rate : missing)
        if (const auto record = read_record(folder(trial_of(model, rate))))
          finished[rate] = record->status == RunStatus::kOk ? record->validation_nll : INFINITY;
      if (finished.size() == before) return finished;
    }
  }

  // The rate of a model's points, once it is known.
  std::optional<double> rate(size_t model) const {
    if (!has_trials()) return own_rate(grid_.smallest(model));
    if (const auto known = rates_.find(model); known != rates_.end()) return known->second;
    std::vector<double> missing;
    const TrialScores finished = scores(model, missing);
    if (!missing.empty()) return std::nullopt;
    const BestRate best = best_rate(finished);
    if (std::isfinite(finished.at(best.lr)))
      log::info("{}: learning rate {} by {} trials{}", grid_.models[model].name(), best.lr, finished.size(),
                best.inside ? "" : ", the last of its grid: a better one may lie beyond");
    if (!std::isfinite(finished.at(best.lr))) {
      hopeless_.insert(model);
      log::warning("{}: every trial of a learning rate diverged: its other runs are left out",
                   grid_.models[model].name());
    }
    return rates_[model] = best.lr;
  }

  // Models of trials that were not the best, once no trial is missing.
  void drop_losers(size_t model) const {
    std::vector<double> missing;
    const TrialScores finished = scores(model, missing);
    const double best = rates_.at(model);
    for (const auto& [lr, score] : finished) {
      const fs::path run = folder(trial_of(model, lr));
      if (lr == best || config_.grid.keep_models || !fs::exists(RunFiles{run}.model())) continue;
      if (const auto lock = try_claim(run)) fs::remove_all(RunFiles{run}.model());
    }
  }

  // Trainings that could be done now, cheapest first, and whether each is a point of the results.
  std::vector<std::pair<GridRun, bool>> to_do() const {
    std::vector<std::pair<GridRun, bool>> runs;
    for (const PlannedWork& item : plan_.work) {
      if (!item.fits) continue;
      const GridPoint& point = grid_.points[item.point];
      const int64_t seed = item.trials ? point.seeds.front() : item.seed;
      if (const auto lr = rate(point.model)) {
        if (item.trials || !hopeless_.contains(point.model)) runs.push_back({{item.point, *lr, seed}, true});
      } else if (item.trials) {
        std::vector<double> missing;
        scores(point.model, missing);
        for (const double trial : missing) runs.push_back({{item.point, trial, seed}, false});
      }
    }
    return runs;
  }

  bool is_done(const GridRun& run, bool final) const {
    const auto record = read_record(folder(run));
    if (!record) return false;
    if (record->status == RunStatus::kDiverged || !final) return true;
    // Tasks may have been added to a study; without its model a run cannot be scored on them any more.
    return record->measured && (tasks_.all_in(record->tasks) || !has_weights(RunFiles{folder(run)}.model()));
  }

  // Left by a process that died between measuring and removing, or by trials that were others'.
  void drop_model(const GridRun& run) const {
    const fs::path model = RunFiles{folder(run)}.model();
    if (config_.grid.keep_models || !fs::exists(model)) return;
    if (const auto lock = try_claim(folder(run))) fs::remove_all(model);
  }

  Found find_work() const {
    Found found;
    for (const auto& [run, final] : to_do()) {
      if (done_.contains(name(grid_, run)) || is_done(run, final)) {
        if (final && done_.insert(name(grid_, run)).second) drop_model(run);
        continue;
      }
      found.lock = try_claim(folder(run));
      if (!found.lock) {
        ++found.others;
      } else if (is_done(run, final)) {  // by another, just now
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
      for (const auto& [model, lr] : rates_)  // here, where this process holds no trial of it
        if (losers_dropped_.insert(model).second) drop_losers(model);
      if (found.lock) {
        do_run(found.run, found.final);
        waited = false;
      } else if (!found.others) {
        break;
      } else {
        if (!waited) log::info("waiting for others: {} runs are theirs", found.others);
        waited = true;
        wait_a_moment(2.0, events_.interrupted);
      }
      stop_if_interrupted("between two runs");
    }
  }

  void do_run(const GridRun& run, bool final) {
    std::optional<RunRecord> trained = read_record(folder(run));
    if (trained && final && trained->status == RunStatus::kOk && !trained->measured &&
        !has_weights(RunFiles{folder(run)}.model())) {
      log::info("{}: its model is gone before it was measured: training again", name(grid_, run));
      fs::remove_all(folder(run));
      trained.reset();
    }
    RunRecord record = trained ? *trained : train(run);
    if (record.status == RunStatus::kOk && final) measure(run, record);
    if (record.status == RunStatus::kOk && final && !tasks_.all_in(record.tasks)) score_tasks(run, record);
    if (final && !config_.grid.keep_models) fs::remove_all(RunFiles{folder(run)}.model());
    collect();
    write(false);
  }

  // What is left of a training when its checkpoints are gone, or none can be read.
  void begin_anew_if_broken(const GridRun& run) const {
    try {
      find_start(RunFiles{folder(run)}, true);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kData) throw;
      log::warning("{}: cannot go on, and begins anew: {}", name(grid_, run), error.what());
      fs::remove_all(folder(run));
    }
  }

  RunRecord train(const GridRun& run) const {
    const std::string label = name(grid_, run);
    const fs::path into = folder(run);
    const RunConfig config = run_config(run);
    RunRecord record{.data = data_checksum_, .device = std::string(name_of_enum(active_device()))};
    record.precision = to_string(precision_of(config.train.precision));
    record.provenance = to_json(provenance(record.precision));
    log::info("{}: training", label);
    begin_anew_if_broken(run);
    const bool from_the_start = !fs::exists(RunFiles{into}.checkpoints());
    EnergyMeter energy;
    PretrainOptions options;
    options.run = into;
    options.resume = true;
    options.measure_peak = measure_peak_;
    options.interrupted = events_.interrupted;
    options.step = [&](const StepStats& stats, int64_t steps, double seconds) {
      energy.update();
      events_.step(label, stats, steps, seconds);
    };
    try {
      const log::Prefix prefix(label);
      const log::WarningsOnly brief;  // there may be hundreds of runs
      const PretrainResult result = pretrain(config, label, options);
      if (result.interrupted)
        fail(ErrorCode::kInterrupted, "interrupted in {} after step {}: run the same command again to go on", label,
             result.step);
      const ModelResult trained = read_run(into, label);
      record.elapsed_s = trained.seconds;
      if (from_the_start) record.energy_j = energy.joules();
      double sum = 0.0;
      for (const DomainResult& domain : trained.domains) sum += domain.nll;
      record.validation_nll = sum / static_cast<double>(trained.domains.size());
      const double chance = std::log(static_cast<double>(config.model.vocab_size));
      if (!(record.validation_nll <= chance + 1.0))
        set_diverged(record,
                     fmt::format("{:.2f} nats per token at the end, {:.2f} is chance", record.validation_nll, chance));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNonFinite) throw;
      set_diverged(record, error.what());
    }
    if (record.status == RunStatus::kDiverged)
      log::warning("{}: diverged, and stays in the results as a point that did: {}", label, record.error);
    record.config = read_file(RunFiles{into}.config());
    write_record(into, record);
    fs::remove_all(RunFiles{into}.checkpoints());
    return record;
  }

  static void set_diverged(RunRecord& record, const std::string& why) {
    record.status = RunStatus::kDiverged, record.error = why, record.validation_nll = INFINITY;
  }

  void measure(const GridRun& run, RunRecord& record) const {
    if (record.measured) return;
    const std::string label = name(grid_, run);
    const auto model = load_model(RunFiles{folder(run)}.model(), default_precision());
    const Tokenizer tokenizer = Tokenizer::load(data_.tokenizer.string());
    record.domains.clear();
    record.valid_tokens = config_.valid_tokens;
    try {
      for (const StudyDomain& domain : data_.evaluation)
        record.domains.push_back(
            score_text(*model, domain,
                       cut_into_pieces(fixed_documents(read_domain(domain, data_.tokenizer, model->config().eos_id, 0),
                                                       config_.valid_tokens, tokenizer)),
                       [&](const std::string& what, double share) {
                         stop_if_interrupted("in an evaluation");
                         events_.evaluation(label + ", " + what, share);
                       }));
      record.measured = true;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNonFinite) throw;
      set_diverged(record, error.what());
      record.domains.clear();
    }
    write_record(folder(run), record);
    double sum = 0.0;
    for (const DomainResult& domain : record.domains) sum += domain.nll;
    log::info("{}: {} nats per token on average over {} domains", label,
              number_text(sum / static_cast<double>(record.domains.size()), 4), record.domains.size());
  }

  void score_tasks(const GridRun& run, RunRecord& record) const {
    const std::string label = name(grid_, run);
    const auto model = load_model(RunFiles{folder(run)}.model(), default_precision());
    try {
      record.tasks =
          tasks_.score(*model, Tokenizer::load(data_.tokenizer.string()), [&](const std::string& task, double share) {
            stop_if_interrupted("in an evaluation");
            events_.evaluation(label + ", " + task, share);
          });
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNonFinite) throw;
      set_diverged(record, error.what());
      record.domains.clear();
    }
    write_record(folder(run), record);
    std::string line;
    for (const TaskScores& own : record.tasks)
      line += fmt::format("{}{} {:.1f} %", line.empty() ? "" : ", ", own.facts.task, 100.0 * own.accuracy());
    log::info("{}: right answers: {}", label, line);
  }

  // A study that has begun may ask for tasks; runs whose model is gone have none.
  void say_what_lacks_tasks() const {
    if (const int64_t lack = without_tasks(results_); lack > 0)
      log::warning("{} without scores of tasks: measured before these were asked for, and the models are gone",
                   counted(lack, "run"));
  }

  // Runs of this grid that were made with other settings. Only what could be looked at now: rates that are not known
  // yet are looked at when they are.
  void look_for_stale_runs() const {
    std::vector<std::string> lines;
    const fs::path runs = out_ / "runs";
    for (size_t p = 0; p < grid_.points.size(); ++p) {
      const fs::path point = runs / grid_.name(grid_.points[p]);
      std::error_code none;
      for (const auto& rate : fs::directory_iterator(point, none))
        for (const auto& seed : fs::directory_iterator(rate.path(), none)) {
          const std::optional<GridRun> run = run_of(p, rate.path(), seed.path());
          if (!run || !seed.is_directory()) continue;
          const auto reasons = stale_because(seed.path(), run_config(*run), data_checksum_, config_.valid_tokens);
          if (reasons.empty()) continue;
          if (options_.redo_stale) {
            const auto lock = claim(seed.path(), events_.interrupted);
            fs::remove_all(seed.path());
            log::info("{}: removed, to be trained again: {}", seed.path().string(), reasons.front());
          } else {
            std::string line = seed.path().string() + ":";
            for (const std::string& reason : reasons) line += " " + reason + ";";
            line.pop_back();
            log::info("stale: {}", line);
            lines.push_back(line);
          }
        }
    }
    if (!lines.empty())
      fail(ErrorCode::kUsage,
           "{}: expected runs with the settings of this study, got {} with others, the first {} (--redo-stale trains "
           "them again, or choose another --out)",
           runs.string(), lines.size(), lines.front());
  }

  // What a folder's name says, if it is one that this study makes.
  std::optional<GridRun> run_of(size_t point, const fs::path& rate, const fs::path& seed) const {
    GridRun run{.point = point};
    try {
      run.lr = std::stod(rate.filename().string().substr(3));
      run.seed = std::stoll(seed.filename().string().substr(5));
    } catch (const std::exception&) {
      return std::nullopt;
    }
    return out_ / "runs" / name(grid_, run) == seed ? std::optional(run) : std::nullopt;
  }

  void collect() {
    results_.finals.clear(), results_.trials.clear();
    for (size_t model = 0; has_trials() && model < grid_.models.size(); ++model) {
      std::vector<double> missing;
      const TrialScores finished = scores(model, missing);
      const BestRate best = missing.empty() && !finished.empty() ? best_rate(finished) : BestRate{};
      for (const auto& [lr, nll] : finished)
        results_.trials.push_back(
            {.run = trial_of(model, lr), .nll = nll, .chosen = lr == best.lr, .inside = lr == best.lr && best.inside});
    }
    for (size_t p = 0; p < grid_.points.size(); ++p) {
      const auto lr = rate(grid_.points[p].model);
      for (const int64_t seed : grid_.points[p].seeds) {
        if (!lr) continue;
        const GridRun run{p, *lr, seed};
        if (const auto record = read_record(folder(run));
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
    const fs::path file = RunFiles{folder(run)}.metrics();
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

  const StudyConfig& config_;
  const fs::path out_;
  const Grid& grid_;
  const Speeds& speeds_;
  const GridPlan& plan_;
  const StudyData& data_;
  const std::string data_checksum_;
  const GridTasks& tasks_;
  const GridOptions& options_;
  const std::function<double()>& measure_peak_;
  const StudyEvents& events_;
  mutable std::map<size_t, double> rates_;                  // of models whose trials are finished
  mutable std::set<size_t> hopeless_;                       // models of which every trial diverged
  std::set<size_t> losers_dropped_;                         // models
  mutable std::set<std::string> done_;                      // final runs that are
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

GridForecast forecast_grid(const StudyConfig& config, const std::string& where, const fs::path& out,
                           const StudyEvents& events) {
  require_utf8(out);
  GridForecast forecast{.grid = make_grid(config, where), .speeds = {}, .plan = {}};
  const GridTasks tasks(config, where);  // checked as the study would
  forecast.speeds = read_speeds(out / "speeds.json");
  const bool known = std::all_of(forecast.grid.models.begin(), forecast.grid.models.end(),
                                 [&](const GridModel& model) { return forecast.speeds.of(model) > 0.0; });
  if (!known && config.grid.speed_seconds > 0.0)
    forecast.speeds = probe_speeds(forecast.grid, config.grid.speed_seconds, forecast.speeds, events);
  forecast.plan = plan_grid(forecast.grid, config.grid, forecast.speeds);
  if (is_prepared(config.corpus, config.vocab_size, out))
    count_epochs(forecast.plan, forecast.grid, config, prepare_study_data(config.corpus, config.vocab_size, out));
  return forecast;
}

GridResults run_grid(const StudyConfig& config, const std::string& where, const fs::path& out,
                     const GridOptions& options, const std::function<double()>& measure_peak,
                     const std::function<void(const GridForecast&)>& planned, const StudyEvents& events) {
  require_utf8(out);
  GridForecast forecast{.grid = make_grid(config, where), .speeds = {}, .plan = {}};
  const GridTasks tasks(config, where);
  const StudyData data = claim_data(config, out, events);
  if (std::none_of(data.evaluation.begin(), data.evaluation.end(), [](const StudyDomain& d) { return !d.held_out; }))
    fail(ErrorCode::kData, "{}: expected validation text of a training domain (valid/), got none", config.corpus);
  forecast.speeds =
      measure_speeds(forecast.grid, config.grid.speed_seconds, options.measure_speeds, out / "speeds.json", events);
  forecast.plan = plan_grid(forecast.grid, config.grid, forecast.speeds);
  count_epochs(forecast.plan, forecast.grid, config, data);
  planned(forecast);
  return GridStudy(config, out, forecast, data, tasks, options, measure_peak, events).go();
}

}  // namespace troupe
