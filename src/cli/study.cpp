// troupe study: several models on the same tokens, compared.
#include "study/study.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/peak.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/provenance.h"
#include "io/writer_lock.h"
#include "study/cluster_plan.h"
#include "study/grid/factors.h"
#include "study/grid/grid.h"
#include "study/grid/grid_report.h"
#include "study/grid/grid_study.h"
#include "study/memory.h"
#include "study/study_report.h"

namespace troupe::cli {
namespace {

struct StudyFlags {
  std::string config, out;
  std::vector<std::string> overrides;
  bool json = false, ignore_memory = false, dry_run = false, redo_stale = false, measure_speeds = false;
  double watchdog_s = 60.0;
};

// One progress bar at a time: a new one for every model and domain.
class Events {
 public:
  StudyEvents make(const InterruptGuard& guard) {
    StudyEvents events;
    events.step = [this](const std::string& model, const StepStats& stats, int64_t steps, double seconds) {
      start("train " + model, static_cast<double>(steps));
      progress_->update(static_cast<double>(stats.step),
                        fmt::format("step {}/{}  loss {:.4f}  {} tokens/s", stats.step, steps,
                                    stats.loss.nll / static_cast<double>(stats.loss.tokens),
                                    short_number(static_cast<double>(stats.loss.tokens) / seconds)));
    };
    events.evaluation = [this](const std::string& what, double share) {
      start("evaluate " + what, 1.0);
      progress_->update(share, "");
    };
    events.interrupted = [&guard] { return guard.interrupted(); };
    return events;
  }
  void finish() { progress_.reset(); }

 private:
  void start(const std::string& label, double total) {
    if (label == label_) return;
    if (progress_) progress_->clear();
    label_ = label;
    progress_ = std::make_unique<Progress>(label, total);
  }
  std::string label_;
  std::unique_ptr<Progress> progress_;
};

// Everything a grid will cost, above the log of what it does, or for programs.
void show(const GridForecast& forecast, const StudyFlags& flags) {
  if (flags.json) return print_json(to_json(forecast.plan, forecast.grid, forecast.speeds));
  print_table(models_table(forecast.grid, forecast.speeds));
  print("\n");
  print_table(budgets_table(forecast.plan, forecast.grid));
  print("\n");
  if (!forecast.plan.epochs.empty()) print_table(epochs_table(forecast.plan)), print("\n");
  for (const std::string& note : plan_notes(forecast.plan, forecast.grid, forecast.speeds)) print("{}\n", note);
  flush_output();
}

void run_with_grid(const StudyFlags& flags, const StudyConfig& config, Grid grid, const std::filesystem::path& out,
                   Communicator* ranks) {
  const InterruptGuard guard;
  Events events;
  PeakMeter meter;
  const Peak peak = default_precision() == Precision::kBf16 ? Peak::kBf16 : Peak::kF32;
  const auto check_memory = [&](const GridForecast& forecast) {
    if (flags.ignore_memory || ranks) return;
    for (const GridModel& model : forecast.grid.models)
      require_memory(model.config, read_machine(), model.path + " at size " + model.size);
  };
  if (flags.dry_run) {
    const GridForecast forecast = forecast_grid(config, std::move(grid), flags.config, out, events.make(guard));
    show(forecast, flags);
    return check_memory(forecast);
  }
  const GridResults results = run_grid(
      config, std::move(grid), flags.config, out, {.redo_stale = flags.redo_stale, .measure_speeds = flags.measure_speeds},
      [&] { return meter.best_burst(peak, 5); },
      [&](const GridForecast& forecast) {
        show(forecast, flags);
        check_memory(forecast);
      },
      events.make(guard), ranks);
  events.finish();
  if (!leads(ranks)) return;
  const Factors factors = make_factors(results);
  if (flags.json) {
    const auto print_row = [](nlohmann::ordered_json line) {
      add_provenance(line, to_string(default_precision()));
      print_json(line);
    };
    for (const TrialRow& row : trial_rows(results)) print_row(json_of(row));
    for (const PointRow& row : point_rows(results)) print_row(json_of(row));
    for (const TaskRow& row : task_rows(results)) print_row(json_of(row));
    for (const RouterRow& row : router_rows(results)) print_row(json_of(row));
    for (const RunRow& row : run_rows(results)) print_row(json_of(row));
    for (const FactorRow& row : factors.rows) print_row(json_of(row));
    for (const TaskFactorRow& row : task_factor_rows(make_task_factors(results))) print_row(json_of(row));
    for (const FitRow& row : factors.fits) print_row(json_of(row));
    return;
  }
  print("\n");
  if (const auto rows = quoted_factors(results, factors); rows.size() > 1) print_table(rows), print("\n");
  for (const char* file : {"points.csv", "factors.csv", "report.html"}) print("{}\n", (out / file).string());
}

// What a study's files say, read once: its models, or its grid.
struct StudyInput {
  StudyConfig config;
  std::vector<StudyModel> models;
  Grid grid;

  // Each once, under the study's vocabulary.
  std::vector<NamedRun> runs() const {
    std::vector<NamedRun> runs;
    for (const StudyModel& model : models) {
      runs.push_back({model.path, model.config});
      runs.back().config.model.vocab_size = config.vocab_size;
    }
    for (const GridModel& model : grid.models) runs.push_back({model.path + " at size " + model.size, model.config});
    return runs;
  }
};

StudyConfig load_config(const StudyFlags& flags, const Communicator* ranks) {
  StudyConfig config = load_study(flags.config, flags.overrides);
  if (flags.dry_run && ranks) fail(ErrorCode::kUsage, "--dry-run: expected one process, got {} ranks", ranks->size());
  if (!config.grid.empty()) return config;
  for (const auto& [given, name] : {std::pair(flags.dry_run, "--dry-run"), std::pair(flags.redo_stale, "--redo-stale"),
                                    std::pair(flags.measure_speeds, "--measure-speeds")})
    if (given) fail(ErrorCode::kUsage, "{}: expected a study with a grid (study.grid.families), got {}", name, flags.config);
  return config;
}

// What a study of models is for, beside its folders.
void write_results(const StudyResult& result, const std::filesystem::path& out) {
  nlohmann::ordered_json summary = study_summary(result);
  add_provenance(summary, to_string(default_precision()));
  for (const ModelResult& model : result.models())  // which may have been trained elsewhere
    summary["trained_by"][model.name] = model.computed_by;
  write_json_file(out / "summary.json", summary);
  write_report(out / "report.html", make_report(result));
}

StudyInput read_input(const StudyFlags& flags, const Communicator* ranks) {
  StudyInput input{.config = load_config(flags, ranks), .models = {}, .grid = {}};
  if (input.config.grid.empty())
    input.models = read_models(input.config);
  else
    input.grid = make_grid(input.config, flags.config);
  return input;
}

void run(const StudyFlags& flags, Communicator* ranks) {
  StudyInput input;
  run_together(ranks, [&] { input = read_input(flags, ranks); }, "configuration");
  const StudyConfig& config = input.config;
  const std::vector<NamedRun> runs = input.runs();
  std::vector<ModelConfig> models;
  for (const NamedRun& run : runs) models.push_back(run.config.model);
  const std::filesystem::path out =
      flags.out.empty() ? "runs" / std::filesystem::path(flags.config).stem() : std::filesystem::path(flags.out);
  choose_device_for(models, ranks);
  if (ranks)
    log::info("ranks: {} ({}), {} each, share every training and evaluation", ranks->size(), ranks->name(),
              counted(num_threads(), "thread"));
  if (ranks && !flags.ignore_memory) require_memory_of_ranks(runs, *ranks);
  if (!config.grid.empty()) return run_with_grid(flags, config, std::move(input.grid), out, ranks);
  if (!flags.ignore_memory && !ranks)
    for (const NamedRun& run : runs) {
      check_rules(run.config, run.where);
      require_memory(run.config, read_machine(), run.where);
    }
  const InterruptGuard guard;
  Events events;
  PeakMeter meter;
  const Peak peak = default_precision() == Precision::kBf16 ? Peak::kBf16 : Peak::kF32;
  std::optional<WriterLock> lock;
  run_on_first(ranks, [&] { lock.emplace(out, WriterLock::Place::kInside); }, "the study's folder");
  const StudyResult result =
      run_study(config, input.models, out, [&] { return meter.best_burst(peak, 5); }, events.make(guard), ranks);
  events.finish();
  run_on_first(ranks, [&] { write_results(result, out); }, "the study's folder");
  if (!leads(ranks)) return;
  if (flags.json) {
    for (auto line : study_lines(result)) {
      add_provenance(line, to_string(default_precision()));
      print_json(line);
    }
    return;
  }
  print_table(study_table(result));
  print("\n");
  if (!result.comparisons.empty()) print_table(comparison_table(result.comparisons)), print("\n");
  if (result.by_seed.size() > 1) print_table(seeds_table(result)), print("\n");
  for (const std::string& note : study_notes(result)) print("{}\n", note);
  for (const auto& [model, sample] : samples_by_prompt(result.models()))
    print("\n{}: \"{}\" ...{}{}\n", model->name, sample->prompt, sample->text,
          sample->finish == "end_of_text" ? " [end of text]" : " [...]");
  print("\n{}\n", (out / "report.html").string());
}

}  // namespace

void add_study(CLI::App& app) {
  const auto flags = std::make_shared<StudyFlags>();
  CLI::App* const command =
      app.add_subcommand("study", "Train several models on the same tokens and compare them, domain by domain");
  command->add_option("config", flags->config, "study file, e.g. configs/quickstart.toml")
      ->required()
      ->check(CLI::ExistingFile)
      ->type_name("CONFIG.toml");
  command->add_option("--out", flags->out, "folder of the study; runs/NAME of the file if not given")->type_name("DIR");
  command->add_option("--set", flags->overrides, "change one key of the study file; may be repeated")
      ->type_name("key=value")
      ->expected(1)
      ->take_all();
  command->add_flag("--dry-run", flags->dry_run,
                    "of a study with a grid: say what it would cost (FLOPs, hours here, memory, disk); write nothing");
  command->add_flag("--redo-stale", flags->redo_stale,
                    "of a grid: train runs again whose settings are no longer those of the study");
  command->add_flag("--measure-speeds", flags->measure_speeds,
                    "of a grid: measure the speed of every family and size again, on an idle machine");
  command->add_flag("--ignore-memory", flags->ignore_memory,
                    "start even if a model needs more memory than is free (see `troupe cost`)");
  command->add_flag("--json", flags->json, "JSON lines: every model, seed and domain, every comparison; of a grid its plan, trials and points");
  add_watchdog_flag(*command, flags->watchdog_s);
  command->callback([flags] {
    run_on_ranks(flags->watchdog_s, [&](Communicator* ranks) { run(*flags, ranks); });
  });
}

}  // namespace troupe::cli
