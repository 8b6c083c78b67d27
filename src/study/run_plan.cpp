#include "study/run_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "study/memory.h"
#include "study/probe.h"
#include "train/run_data.h"
#include "train/run_folder.h"
#include "train/run_samples.h"
#include "train/run_tasks.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// Of the disk that a folder is on, or will be.
std::optional<int64_t> free_disk(fs::path folder) {
  std::error_code error;
  for (folder = fs::absolute(folder); !fs::exists(folder, error) && folder.has_relative_path();)
    folder = folder.parent_path();
  const fs::space_info space = fs::space(folder, error);
  if (error) return std::nullopt;
  return static_cast<int64_t>(space.available);
}

}  // namespace

RunPlan plan_run(const RunConfig& config, const std::string& where, const fs::path& run, bool resume,
                 const Machine& machine, double probe_seconds) {
  check(config, where);
  const FoundCheckpoints found = find_start(RunFiles{run}, resume);
  const Loader loader = open_training_data(config, where);
  const fs::path tokenizer = loader.corpora().front().data->tokenizer_path();
  open_validation_data(config, loader, where);
  const RunTasks tasks(config, tokenizer, where);
  const RunSamples samples(config, tokenizer, where);

  RunPlan plan{.updates = num_steps(config)};
  plan.tokens = plan.updates * config.train.batch_sequences * config.model.context;
  if (found.newest) {
    const TrainState saved = load_train_state(*found.newest);
    check_resume(saved, config, identities(loader), where);
    plan.updates_done = saved.step;
  }
  for (const Loader::Use& use : loader.use(plan.updates))
    plan.domains.push_back({use.name, use.sequences * config.model.context, use.share, use.epochs});
  plan.params = make_parameter_table(config.model).num_parameters();
  plan.active_params = num_active_parameters(config.model);
  plan.flops_per_token = train_flops_per_token(config.model, config.model.context);
  plan.train_flops = plan.flops_per_token * static_cast<double>(plan.tokens);
  plan.memory_bytes = estimate_memory(config).total(config.train.recompute);
  plan.free_memory_bytes = free_memory_bytes(machine);
  const int64_t model_bytes = 4 * plan.params;
  // Parameters and two moments, in bf16 half as large.
  plan.checkpoint_bytes = (config.train.optimizer.moments == Precision::kBf16 ? 2 : 3) * model_bytes;
  // One more checkpoint while the next is written, and an old and a new copy of what is exported.
  plan.disk_bytes =
      (config.train.keep_last + 1) * plan.checkpoint_bytes + (config.train.keep_best ? 3 : 1) * model_bytes;
  plan.free_disk_bytes = free_disk(run);
  if (probe_seconds > 0.0 && plan.memory_fits()) {
    plan.tokens_per_s = probe_training(config, probe_seconds);
    const int64_t left = std::max<int64_t>(0, plan.updates - plan.updates_done);
    plan.seconds = static_cast<double>(left * config.train.batch_sequences * config.model.context) / plan.tokens_per_s;
  }
  return plan;
}

nlohmann::ordered_json to_json(const RunPlan& plan) {
  const auto known = [](const auto& value) { return value ? nlohmann::ordered_json(*value) : nullptr; };
  const auto measured = [](double value) { return value > 0.0 ? nlohmann::ordered_json(value) : nullptr; };
  nlohmann::ordered_json domains = nlohmann::ordered_json::array();
  for (const RunPlan::Domain& domain : plan.domains)
    domains.push_back(
        {{"data", domain.name}, {"tokens", domain.tokens}, {"share", domain.share}, {"epochs", domain.epochs}});
  return {{"schema", "troupe.train.plan/1"},
          {"domains", domains},
          {"updates", plan.updates},
          {"updates_done", plan.updates_done},
          {"tokens", plan.tokens},
          {"params", plan.params},
          {"active_params", plan.active_params},
          {"flops_per_token", plan.flops_per_token},
          {"train_flops", plan.train_flops},
          {"memory_bytes", plan.memory_bytes},
          {"free_memory_bytes", known(plan.free_memory_bytes)},
          {"checkpoint_bytes", plan.checkpoint_bytes},
          {"disk_bytes", plan.disk_bytes},
          {"free_disk_bytes", known(plan.free_disk_bytes)},
          {"tokens_per_s", measured(plan.tokens_per_s)},
          {"seconds", measured(plan.seconds)}};
}

}  // namespace troupe
