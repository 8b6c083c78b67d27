// troupe finetune: a model that has learnt tasks, texts or answers.
#include "train/finetune.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "cli/restarts.h"
#include "io/json_fields.h"
#include "study/cluster_plan.h"
#include "study/memory.h"

namespace troupe::cli {
namespace {

struct FinetuneArguments {
  FinetuneFlags flags;
  std::string config, run;
  bool resume = false, json = false, ignore_memory = false, dry_run = false;
  double watchdog_s = 60.0;
  RestartFlags restarts;
};

std::string shown(double value) { return std::isnan(value) ? "" : fmt::format("{:.4f}", value); }

// With those that diverged: "3e-05 (0.1, 0.3 diverged)".
std::string rate_of(const FinetuneResultLine& line) {
  if (line.diverged.empty()) return fmt::format("{:g}", line.lr);
  return fmt::format("{:g} ({:g} diverged)", line.lr, fmt::join(line.diverged, ", "));
}

void print_results(const std::vector<FinetuneResultLine>& results) {
  std::vector<std::vector<std::string>> rows = {
      {"task", "split", "n", "zero-shot", "fine-tuned", "±", "metric", "rate", "epoch", "model"}};
  for (const FinetuneResultLine& line : results)
    rows.push_back({line.task, line.split, grouped(line.n), shown(line.zero_shot), shown(line.value),
                    shown(line.interval_half), line.metric, rate_of(line),
                    fmt::format("{}", fmt::join(line.epochs, " ")), line.model});
  print_table(rows);
}

void print_plan(const std::vector<FinetunePlanLine>& plan) {
  std::vector<std::vector<std::string>> rows = {
      {"learnt", "trainings", "epochs", "texts", "tokens", "updates", "FLOPs"}};
  double flops = 0.0;
  for (const FinetunePlanLine& line : plan) {
    rows.push_back({fmt::format("{}", fmt::join(line.learnt, " ")), grouped(line.trainings), grouped(line.epochs),
                    grouped(line.texts), grouped(line.tokens), grouped(line.updates), short_number(line.train_flops)});
    flops += line.train_flops;
  }
  print_table(rows);
  print("\n{} FLOPs of training in all; texts, tokens and updates are those of an epoch\n", short_number(flops));
}

void log_figure(const nlohmann::ordered_json& line) {
  const bool nll = line["metric"] == "nll";
  log::info("{}: {} ({}), epoch {}: {} {:.4f} of {}", line["task"].get<std::string>(),
            line["setting"].get<std::string>(), line["split"].get<std::string>(), line["epoch"].get<int64_t>(),
            line["metric"].get<std::string>(), line[nll ? "nll" : "accuracy"].get<double>(), line["n"].get<int64_t>());
}

// As its largest update is.
RunConfig sized(RunConfig config, const std::vector<FinetunePlanLine>& plan) {
  config.train.batch_sequences = config.finetune->batch_sequences;
  config.model.context = std::ranges::max(plan, {}, &FinetunePlanLine::row_tokens).row_tokens;
  return config;
}

void run(const FinetuneArguments& arguments, Communicator* ranks) {
  FinetuneFlags flags = arguments.flags;
  flags.config = arguments.config;
  RunConfig config;
  run_together(ranks, [&] { config = load_finetune_config(flags); }, "configuration");
  const std::string where = arguments.config.empty() ? "finetune" : arguments.config;
  if (config.finetune->teacher.empty())
    choose_device_for(config.model, ranks);
  else
    choose_device("a teacher does not run on GPUs yet", ranks);
  const InterruptGuard signals;
  std::optional<Error> lost_output;  // the lines are in metrics.jsonl: the run is saved, then ends
  std::optional<Progress> progress;
  double seconds = 0.0, tokens = 0.0;

  FinetuneOptions options;
  options.run = arguments.run;
  options.resume = arguments.resume;
  options.dry_run = arguments.dry_run;
  options.ranks = ranks;
  options.planned = [&](const std::vector<FinetunePlanLine>& plan) {
    if (arguments.ignore_memory) return;
    ranks ? require_memory_of_ranks(sized(config, plan), where, *ranks)
          : require_memory(sized(config, plan), read_machine(), where);
  };
  options.interrupted = [&] { return signals.interrupted() || lost_output; };
  options.line = [&](const nlohmann::ordered_json& line) {
    try {
      if (arguments.json && !lost_output) print_json(line);
    } catch (const Error& error) {
      lost_output = error;
    }
    if (line["schema"] == FinetuneLine::kSchema) log_figure(line);
  };
  options.step = [&](const StepStats& stats, int64_t steps, double step_seconds) {
    if (!progress || stats.step == 1) progress.emplace("finetune", static_cast<double>(steps));
    seconds += step_seconds;
    tokens += static_cast<double>(stats.loss.tokens);
    progress->update(static_cast<double>(stats.step),
                     fmt::format("step {}/{}  loss {:.4f}  lr {:.3g}", stats.step, steps,
                                 stats.loss.nll / static_cast<double>(stats.loss.tokens), stats.lr));
    if (stats.step == steps) progress.reset();
  };
  const FinetuneResult result = finetune(config, where, options);
  progress.reset();
  if (lost_output) fail(lost_output->code(), "{}; --resume goes on in {}", lost_output->what(), arguments.run);
  if (result.interrupted) fail(ErrorCode::kInterrupted, "interrupted; --resume goes on in {}", arguments.run);
  if (arguments.dry_run) {
    if (!arguments.json) return print_plan(result.plan);
    for (const FinetunePlanLine& line : result.plan) print_json(json_of(line));
    return;
  }
  if (!arguments.json) print_results(result.results);
}

}  // namespace

void add_finetune(CLI::App& app) {
  auto* command = app.add_subcommand("finetune", "Train a model further on tasks, text or prompts with answers");
  auto arguments = std::make_shared<FinetuneArguments>();
  command->add_option("config", arguments->config, "configuration file with tables [finetune], [train] and [model]")
      ->type_name("CONFIG.toml");
  command
      ->add_option("--model", arguments->flags.model, "folder of the model to begin with, or of a run (finetune.model)")
      ->type_name("MODEL");
  command
      ->add_option("--task", arguments->flags.tasks,
                   "tasks to learn, or files FILE.toml (finetune.tasks); may be repeated")
      ->type_name("TASK")
      ->delimiter(',');
  command->add_option("--data-dir", arguments->flags.data_dir, "folder of the tasks' data (finetune.data_dir)")
      ->type_name("DIR");
  command->add_option("--run", arguments->run, "folder of the run")->required()->type_name("DIR");
  command->add_option("--set", arguments->flags.overrides, "change one key; may be repeated")
      ->type_name("key=value")
      ->expected(1)
      ->take_all();
  command->add_flag("--resume", arguments->resume, "go on from the newest complete checkpoint in the run's folder");
  command->add_flag("--dry-run", arguments->dry_run,
                    "read and check everything and say what the trainings would take; write nothing");
  command->add_flag("--ignore-memory", arguments->ignore_memory,
                    "start even if training needs more memory than is free (see `troupe cost`)");
  command->add_flag("--json", arguments->json, "print the lines of metrics.jsonl and the results on stdout");
  add_watchdog_flag(*command, arguments->watchdog_s);
  add_restart_flags(*command, arguments->restarts);
  command->callback([arguments] {
    if (arguments->restarts.any()) return run_with_restarts(arguments->restarts, "finetune");
    run_on_ranks(arguments->watchdog_s, [&](Communicator* ranks) { run(*arguments, ranks); });
  });
}

}  // namespace troupe::cli
