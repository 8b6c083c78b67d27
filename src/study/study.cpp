#include "study/study.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/log_prefix.h"
#include "base/utf8.h"
#include "io/atomic_file.h"
#include "io/named_path.h"
#include "io/toml_config.h"
#include "model/model_directory.h"
#include "study/grid/grid.h"
#include "study/probe.h"
#include "study/token_plan.h"
#include "train/pretrain.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// One training of the study.
struct PlannedRun {
  std::string name, label = name;  // the label tells seeds apart
  RunConfig config;
  fs::path folder;
};

// Fills in the study's data and length.
void complete(RunConfig& config, const std::string& path, const StudyConfig& study, const StudyData& data) {
  take_data(config, study, data);
  config.train.steps = 0;
  config.train.tokens = study.tokens;
  check(config, path);
}

bool is_complete(const PlannedRun& model) {
  const fs::path written = RunFiles{model.folder}.config();
  if (!fs::exists(written)) return false;
  if (read_file(written) != to_toml_in(model.folder, fields_of(model.config)))
    fail(ErrorCode::kUsage,
         "{}: expected a run with the settings of this study, got one with others (choose another "
         "--out, or remove it)",
         model.folder.string());
  return has_weights(RunFiles{model.folder}.model());
}

void train_model(const PlannedRun& model, const std::function<double()>& measure_peak, const StudyEvents& events) {
  const log::Prefix prefix(model.label);
  if (is_complete(model)) return log::info("trained before");
  PretrainOptions options;
  options.run = model.folder;
  options.resume = true;
  options.measure_peak = measure_peak;
  options.interrupted = events.interrupted;
  options.step = [&](const StepStats& stats, int64_t steps, double seconds) {
    events.step(model.label, stats, steps, seconds);
  };
  const PretrainResult result = pretrain(model.config, model.name, options);
  if (result.interrupted)
    fail(ErrorCode::kInterrupted, "interrupted in {} after step {}: run the same command again to go on", model.label,
         result.step);
}

ModelResult evaluate(const PlannedRun& run, const StudyConfig& study, const StudyData& data,
                     const StudyEvents& events) {
  ModelResult result = read_run(run.folder, run.name);
  if (result.tokens <= 0 || !(result.seconds > 0.0))
    fail(ErrorCode::kData, "{}: expected at least one line of training, got none",
         RunFiles{run.folder}.metrics().string());
  ModelEvaluation evaluation = evaluate_model(
      RunFiles{run.folder}.model(), run.folder / "evaluation.json", study, data,
      [&](const std::string& domain, double share) {
        if (events.interrupted && events.interrupted())
          fail(ErrorCode::kInterrupted, "interrupted in the evaluation of {}: run the same command again to go on",
               run.label);
        events.evaluation(run.label + ", " + domain, share);
      });
  result.domains = std::move(evaluation.domains), result.samples = std::move(evaluation.samples);
  return result;
}

}  // namespace

StudyResult run_study(const StudyConfig& config, const fs::path& out, const std::function<double()>& measure_peak,
                      const StudyEvents& events) {
  if (find_invalid_utf8(out.string()))
    fail(ErrorCode::kUsage, "{}: expected a folder whose path is UTF-8, since the configuration of each run names it",
         out.string());
  std::vector<PlannedRun> models;  // of the configuration: read before anything is made
  std::vector<std::string> paths;
  for (const std::string& text : config.models) {
    const NamedPath entry = parse_named_path(text, "study.models");
    paths.push_back(entry.path);
    models.push_back({.name = entry.name, .config = load_run_config(paths.back()), .folder = out / entry.name});
  }
  const StudyData data = prepare_study_data(config.corpus, config.vocab_size, out);
  for (size_t m = 0; m < models.size(); ++m) complete(models[m].config, paths[m], config, data);

  StudyResult result{.config = config, .by_seed = {}, .comparisons = {}};
  const RunConfig& first = models.front().config;
  std::vector<std::string> names;
  for (const PlannedRun& model : models) names.push_back(model.name);
  result.planned_tokens = plan_tokens(
      config, names, first.train.batch_sequences * first.model.context,
      [&](size_t m, double seconds) { return probe_training(models[m].config, seconds); }, out / "plan.json");
  const std::vector<int64_t> seeds = seeds_of(config);
  std::vector<std::vector<PlannedRun>> by_seed;
  for (const int64_t seed : seeds)
    for (PlannedRun& run : by_seed.emplace_back(models)) {
      run.config.train.tokens = result.planned_tokens, run.config.train.seed = seed;
      if (config.seeds.empty()) continue;
      run.folder /= fmt::format("seed-{}", seed);
      run.label += fmt::format(", seed {}", seed);
    }
  for (const std::vector<PlannedRun>& runs : by_seed)
    for (const PlannedRun& run : runs) train_model(run, measure_peak, events);
  for (const std::vector<PlannedRun>& runs : by_seed) {
    std::vector<ModelResult>& models_of_seed = result.by_seed.emplace_back();
    for (const PlannedRun& run : runs) models_of_seed.push_back(evaluate(run, config, data, events));
  }
  result.comparisons = compare_to_first(result.models());
  return result;
}

}  // namespace troupe
