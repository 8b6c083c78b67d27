// troupe train: a model from a configuration file.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/isa.h"
#include "base/log.h"
#include "base/placement.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/peak.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "cli/restarts.h"
#include "cli/run_file.h"
#include "cli/validators.h"
#include "io/json_text.h"
#include "study/cluster_plan.h"
#include "study/memory.h"
#include "study/run_plan.h"
#include "train/pretrain.h"

namespace troupe::cli {
namespace {

struct TrainArguments {
  std::string config, run;
  std::vector<std::string> overrides;
  bool resume = false, json = false, ignore_memory = false, dry_run = false;
  double watchdog_s = 60.0;
  RestartFlags restarts;
};

// "books 4.61  web 4.56": the validation lines of one step, for people.
std::string validation_text(const std::vector<nlohmann::ordered_json>& lines) {
  std::string text;
  for (const auto& line : lines)
    text += fmt::format("{}{} {:.4f}", text.empty() ? "" : "  ", line["data"].get<std::string>(),
                        line["nll"].get<double>());
  return text;
}

std::string number_text(const nlohmann::ordered_json& value) {
  return value.is_number() ? fmt::format("{:.4f}", value.get<double>()) : "unknown";
}

std::filesystem::path run_folder(const TrainArguments& arguments) {
  return arguments.run.empty() ? "runs" / std::filesystem::path(arguments.config).stem()
                               : std::filesystem::path(arguments.run);
}

void print_plan(const RunPlan& plan) {
  const auto size = [](int64_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  const auto free_of = [&](const std::optional<int64_t>& bytes) { return bytes ? size(*bytes) : "unknown"; };
  std::vector<std::vector<std::string>> rows = {{"data", "tokens", "share", "epochs"}};
  for (const RunPlan::Domain& domain : plan.domains)
    rows.push_back({domain.name, grouped(domain.tokens), fmt::format("{:.1f} %", 100.0 * domain.share),
                    fmt::format("{:.2f}", domain.epochs)});
  print_table(rows);
  print("\nupdates     {}{}\n", grouped(plan.updates),
        plan.updates_done ? fmt::format(", {} of them done", grouped(plan.updates_done)) : "");
  print("tokens      {}\n", grouped(plan.tokens));
  print("parameters  {} ({} active per token)\n", grouped(plan.params), grouped(plan.active_params));
  print("FLOPs       {} per token, {} in all\n", short_number(plan.flops_per_token), short_number(plan.train_flops));
  print("memory      {} needed, {} free\n", size(plan.memory_bytes), free_of(plan.free_memory_bytes));
  print("disk        {} at most ({} a checkpoint), {} free\n", size(plan.disk_bytes),
        size(plan.checkpoint_bytes), free_of(plan.free_disk_bytes));
  if (plan.tokens_per_s > 0.0)
    print(
        "time        about {} at {} tokens/s, as measured just now; validation, samples and checkpoints not counted\n",
        short_duration(plan.seconds), short_number(plan.tokens_per_s));
}

// Ends as the run would.
void dry_run(const TrainArguments& arguments, const RunConfig& config) {
  constexpr double kProbeSeconds = 3.0;
  const Machine machine = read_machine();
  const RunPlan plan =
      plan_run(config, arguments.config, run_folder(arguments), arguments.resume, machine, kProbeSeconds);
  if (arguments.json)
    print_json(to_json(plan));
  else
    print_plan(plan);
  flush_output();
  if (!arguments.ignore_memory) require_memory(config, machine, arguments.config);
  if (!plan.disk_fits())
    fail(ErrorCode::kEnvironment, "{}: expected {} bytes of disk for checkpoints, got {} that are free",
         run_folder(arguments).string(), plan.disk_bytes, *plan.free_disk_bytes);
}

void run(const TrainArguments& arguments, Communicator* ranks) {
  const bool leads = !ranks || ranks->rank() == 0;
  RunConfig config;
  const auto load = [&] {
    config = load_run_file(arguments.config, arguments.overrides);
    check(config, arguments.config);
    if (arguments.dry_run && ranks)
      fail(ErrorCode::kUsage, "--dry-run: expected one process, got {} ranks", ranks->size());
    if (ranks) check_shares(config, arguments.config, ranks->size());
  };
  ranks ? ranks->together(load, "configuration") : load();
  choose_device_for(config.model, ranks);
  if (arguments.dry_run) return dry_run(arguments, config);
  if (!arguments.ignore_memory)
    ranks ? require_memory_of_ranks(config, arguments.config, *ranks)
          : require_memory(config, read_machine(), arguments.config);
  const InterruptGuard signals;
  std::optional<Progress> progress;
  if (leads) progress.emplace("train", static_cast<double>(num_steps(config)));
  std::vector<nlohmann::ordered_json> validation;
  double seconds = 0.0, tokens = 0.0;

  PretrainOptions options;
  options.run = run_folder(arguments);
  options.resume = arguments.resume;
  options.ranks = ranks;
  PeakMeter meter;
  const Peak peak = precision_of(config.train.precision) == Precision::kBf16 ? Peak::kBf16 : Peak::kF32;
  if (!ranks) options.measure_peak = [&] { return meter.best_burst(peak, 5); };  // of one process: no mfu of several
  log::info("{} kernels; {}", name_of_enum(active_isa()),
            describe_placement(read_machine(), num_threads(), [](const char* name) { return std::getenv(name); }));
  if (active_isa() == Isa::kGeneric)
    log::warning("generic kernels: several times slower than with AVX2 or better (`troupe doctor` says what is there)");
  std::optional<Error> lost_output;  // the lines are in metrics.jsonl: the run is saved, then ends
  options.interrupted = [&] { return signals.interrupted() || lost_output; };
  options.metrics = [&](const nlohmann::ordered_json& line) {
    try {
      if (arguments.json && !lost_output) print_json(line);
    } catch (const Error& error) {
      lost_output = error;
    }
    if (line["schema"] == "troupe.sample/1")
      log::info("step {}: sample: {} {}", line["step"].get<int64_t>(), json_text(line["prompt"]),
                json_text(line["text"]));
    if (line["schema"] == "troupe.task/1")
      log::info("step {}: {} ({}): {} {}", line["step"].get<int64_t>(), line["task"].get<std::string>(),
                line["convention"].get<std::string>(), line["metric"].get<std::string>(), number_text(line["value"]));
    if (line["schema"] != "troupe.valid/1") return;
    if (!validation.empty() && validation.front()["step"] != line["step"]) validation.clear();
    validation.push_back(line);
    if (validation.size() == config.data.valid.size())
      log::info("step {}: validation nats: {}", line["step"].get<int64_t>(), validation_text(validation));
  };
  options.step = [&](const StepStats& stats, int64_t steps, double step_seconds) {
    seconds += step_seconds;
    tokens += static_cast<double>(stats.loss.tokens);
    progress->update(
        static_cast<double>(stats.step),
        fmt::format("step {}/{}  loss {:.4f}  lr {:.3g}  {} tokens/s", stats.step, steps,
                    stats.loss.nll / static_cast<double>(stats.loss.tokens), stats.lr, short_number(tokens / seconds)));
  };

  const PretrainResult result = pretrain(config, arguments.config, options);
  if (progress) progress->clear();
  if (lost_output && result.interrupted)
    fail(lost_output->code(), "{}; stopped after step {}: {} is written; --resume goes on with it", lost_output->what(),
         result.step, result.checkpoint.string());
  if (lost_output) fail(lost_output->code(), "{}; {} is complete", lost_output->what(), result.model.string());
  if (result.interrupted)
    fail(ErrorCode::kInterrupted, "interrupted after step {}: {} is written; --resume goes on with it", result.step,
         result.checkpoint.string());
  if (!arguments.json) print("{}\n", result.model.string());
}

}  // namespace

void add_train(CLI::App& app) {
  auto* command = app.add_subcommand("train", "Train a model from a configuration file");
  auto arguments = std::make_shared<TrainArguments>();
  command->add_option("config", arguments->config, "configuration file (see `troupe config reference`)")
      ->required()
      ->type_name("CONFIG.toml");
  command->add_option("--set", arguments->overrides, "change one key; may be repeated")
      ->type_name("key=value")
      ->expected(1)
      ->take_all();
  command->add_option("--run", arguments->run, "folder of the run; runs/NAME of the configuration if not given")
      ->type_name("DIR");
  command->add_flag("--resume", arguments->resume, "go on from the newest complete checkpoint in the run's folder");
  command->add_flag(
      "--dry-run", arguments->dry_run,
      "check everything and say what the run would take (data, FLOPs, memory, disk, time); write nothing");
  command->add_flag("--ignore-memory", arguments->ignore_memory,
                    "start even if the run needs more memory than is free (see `troupe cost`)");
  command->add_flag("--json", arguments->json, "print the lines of metrics.jsonl on stdout, too");
  add_watchdog_flag(*command, arguments->watchdog_s);
  add_restart_flags(*command, arguments->restarts);
  command->callback([arguments] {
    if (arguments->restarts.any()) return run_with_restarts(arguments->restarts, "train");
    run_on_ranks(arguments->watchdog_s, [&](Communicator* ranks) { run(*arguments, ranks); });
  });
}

}  // namespace troupe::cli
