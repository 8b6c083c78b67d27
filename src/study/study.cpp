#include "study/study.h"

#include <fmt/core.h>

#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/log_prefix.h"
#include "base/utf8.h"
#include "dist/team.h"
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

// What ranks do together: `model` of seed number `seed`.
struct Order {
  enum What { kProbe, kTrain, kScore } what = kProbe;
  size_t seed = 0, model = 0;
  double seconds = 0.0;  // of a probe
  int64_t tokens = 0;    // planned, of a run
};

class Study {
 public:
  Study(const StudyConfig& config, const std::vector<StudyModel>& models, const fs::path& out,
        const std::function<double()>& measure_peak, const StudyEvents& events, Communicator* ranks)
      : config_(config),
        out_(out),
        measure_peak_(measure_peak),
        events_(events),
        ranks_(ranks),
        team_(ranks, [this](const Order& order) { obey(order); }) {
    for (const StudyModel& model : models) {
      paths_.push_back(model.path);
      models_.push_back({.name = model.name, .config = model.config, .folder = out / model.name});
      if (ranks) check_shares(model.config, model.path, ranks->size());
    }
  }

  StudyResult go() {
    StudyResult result{.config = config_, .by_seed = {}, .comparisons = {}};
    team_.lead([&] { run(result); });
    return result;
  }

 private:
  void run(StudyResult& result) {
    prepare();
    const RunConfig& first = models_.front().config;
    std::vector<std::string> names;
    for (const PlannedRun& model : models_) names.push_back(model.name);
    const auto probe = [&](size_t model, double seconds) {
      team_.call({.what = Order::kProbe, .model = model, .seconds = seconds});
      return tokens_per_s_;
    };
    result.planned_tokens =
        plan_tokens(config_, names, first.train.batch_sequences * first.model.context, probe, out_ / "plan.json");
    const std::vector<int64_t> seeds = seeds_of(config_);
    for (size_t s = 0; s < seeds.size(); ++s)
      for (size_t m = 0; m < models_.size(); ++m) train(s, m, result.planned_tokens);
    for (size_t s = 0; s < seeds.size(); ++s) {
      std::vector<ModelResult>& of_seed = result.by_seed.emplace_back();
      for (size_t m = 0; m < models_.size(); ++m) of_seed.push_back(evaluate(s, m, result.planned_tokens));
    }
    result.comparisons = compare_to_first(result.models());
  }

  // Where the first rank has prepared the data, the others find them.
  void prepare() {
    if (data_) return;
    data_ = prepare_study_data(config_.corpus, config_.vocab_size, out_);
    for (size_t m = 0; m < models_.size(); ++m) complete(models_[m].config, paths_[m], config_, *data_);
  }

  PlannedRun planned(size_t seed, size_t model, int64_t tokens) const {
    PlannedRun run = models_[model];
    const int64_t number = seeds_of(config_)[seed];
    run.config.train.tokens = tokens, run.config.train.seed = number;
    if (config_.seeds.empty()) return run;
    run.folder /= fmt::format("seed-{}", number);
    run.label += fmt::format(", seed {}", number);
    return run;
  }

  void train(size_t seed, size_t model, int64_t tokens) {
    const PlannedRun run = planned(seed, model, tokens);
    const log::Prefix prefix(run.label);
    if (is_complete(run)) return log::info("trained before");
    team_.call({.what = Order::kTrain, .seed = seed, .model = model, .tokens = tokens});
    if (trained_.interrupted)
      fail(ErrorCode::kInterrupted, "interrupted in {} after step {}: run the same command again to go on", run.label,
           trained_.step);
  }

  ModelResult evaluate(size_t seed, size_t model, int64_t tokens) {
    const PlannedRun run = planned(seed, model, tokens);
    ModelResult result = read_run(run.folder, run.name);
    if (result.tokens <= 0 || !(result.seconds > 0.0))
      fail(ErrorCode::kData, "{}: expected at least one line of training, got none",
           RunFiles{run.folder}.metrics().string());
    ModelEvaluation evaluation =
        evaluate_model(RunFiles{run.folder}.model(), run.folder / "evaluation.json", config_, *data_, [&] {
          team_.call({.what = Order::kScore, .seed = seed, .model = model, .tokens = tokens});
          return std::move(scored_);
        });
    result.domains = std::move(evaluation.domains), result.samples = std::move(evaluation.samples);
    return result;
  }

  // What all ranks do.
  void obey(const Order& order) {
    prepare();
    if (order.what == Order::kProbe) {
      tokens_per_s_ = probe_training(models_[order.model].config, order.seconds, ranks_);
      return;
    }
    const PlannedRun run = planned(order.seed, order.model, order.tokens);
    if (order.what == Order::kScore) {
      const auto progress = [&](const std::string& domain, double share) {
        if (events_.interrupted && events_.interrupted())
          fail(ErrorCode::kInterrupted, "interrupted in the evaluation of {}: run the same command again to go on",
               run.label);
        events_.evaluation(run.label + ", " + domain, share);
      };
      scored_ = score_domains(RunFiles{run.folder}.model(), config_, *data_, progress, ranks_);
      return;
    }
    PretrainOptions options;
    options.run = run.folder;
    options.resume = true;
    options.ranks = ranks_;
    if (!ranks_) options.measure_peak = measure_peak_;
    options.interrupted = events_.interrupted;
    options.step = [&](const StepStats& stats, int64_t steps, double seconds) {
      events_.step(run.label, stats, steps, seconds);
    };
    trained_ = pretrain(run.config, run.name, options);
  }

  const StudyConfig& config_;
  const fs::path out_;
  const std::function<double()>& measure_peak_;
  const StudyEvents& events_;
  Communicator* ranks_;
  std::vector<PlannedRun> models_;  // without tokens and seed
  std::vector<std::string> paths_;  // of their configurations
  std::optional<StudyData> data_;
  Team<Order> team_;
  // Of the last order.
  double tokens_per_s_ = 0.0;
  PretrainResult trained_;
  std::vector<DomainResult> scored_;
};

}  // namespace

std::vector<StudyModel> read_models(const StudyConfig& config) {
  std::vector<StudyModel> models;
  for (const std::string& text : config.models) {
    const NamedPath entry = parse_named_path(text, "study.models");
    models.push_back({.name = entry.name, .path = entry.path, .config = load_run_config(entry.path)});
  }
  return models;
}

StudyResult run_study(const StudyConfig& config, const std::vector<StudyModel>& models, const fs::path& out,
                      const std::function<double()>& measure_peak, const StudyEvents& events, Communicator* ranks) {
  if (find_invalid_utf8(out.string()))
    fail(ErrorCode::kUsage, "{}: expected a folder whose path is UTF-8, since the configuration of each run names it",
         out.string());
  std::optional<Study> study;
  run_together(ranks, [&] { study.emplace(config, models, out, measure_peak, events, ranks); }, "configuration");
  return study->go();
}

}  // namespace troupe
