#include "study/study.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "data/tokenizer/tokenizer.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/named_path.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "model/model_directory.h"
#include "study/metrics_history.h"
#include "study/probe.h"
#include "train/pretrain.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

constexpr double kProbeSeconds = 4.0;
constexpr double kProbeMargin = 0.9;  // a probe runs cooler and undisturbed
constexpr int64_t kFewestSteps = 20;

// Fills in the study's data, seed and length.
void complete(RunConfig& config, const std::string& path, const StudyConfig& study, const StudyData& data) {
  config.model.vocab_size = study.vocab_size;
  config.model.eos_id = Tokenizer::load(data.tokenizer.string()).end_of_text();
  config.train.seed = study.seed;
  config.train.steps = 0;
  config.train.tokens = study.tokens;
  config.data = {};
  for (const StudyDomain& domain : data.train) config.data.train.push_back(domain.name + "=" + domain.dataset.string());
  for (const StudyDomain& domain : data.evaluation)
    if (!domain.held_out) config.data.valid.push_back(domain.name + "=" + domain.dataset.string());
  check(config, path);
}

// Tokens of each model, so that training all of them takes at most max_minutes here. Decided once per folder: a study
// that goes on keeps its plan.
int64_t plan_tokens(const StudyConfig& study, const std::vector<StudyModel>& models, const fs::path& file,
                    const StudyEvents& events) {
  if (study.max_minutes <= 0.0) return study.tokens;
  const nlohmann::ordered_json asked = {{"tokens", study.tokens}, {"max_minutes", study.max_minutes}};
  if (fs::exists(file)) {
    const nlohmann::json plan = read_json_file(file);
    const auto in_range = [](const nlohmann::json& tokens) {
      return tokens.is_number_unsigned() && tokens > 0 && tokens.get<uint64_t>() <= uint64_t{INT64_MAX};
    };
    if (!plan.contains("asked") || !plan.contains("tokens") || !in_range(plan["tokens"]))
      fail(ErrorCode::kData, "{}: expected a plan as written by `troupe study`, got another file (remove it)",
           file.string());
    if (plan["asked"] == nlohmann::json(asked)) return plan["tokens"].get<int64_t>();
  }
  events.message(fmt::format("probe: a few training steps of each model ({:.0f} s each)", kProbeSeconds));
  nlohmann::ordered_json rates;
  double seconds_per_token = 0.0;
  for (const StudyModel& model : models) {
    const double rate = probe_training(model.config, kProbeSeconds);
    rates[model.name] = rate;
    seconds_per_token += 1.0 / rate;
    events.message(fmt::format("probe: {}: {:.0f} tokens/s", model.name, rate));
  }
  const RunConfig& config = models.front().config;
  const int64_t step_tokens = config.train.batch_sequences * config.model.context;
  const auto affordable = static_cast<int64_t>(kProbeMargin * 60.0 * study.max_minutes / seconds_per_token);
  int64_t tokens = study.tokens;
  if (affordable < tokens) {
    tokens = std::min(tokens, std::max(kFewestSteps, affordable / step_tokens) * step_tokens);
    events.message(fmt::format(
        "This machine would need {:.0f} minutes for {} tokens per model; training on {} instead, to stay "
        "within {:.0f} minutes.",
        static_cast<double>(study.tokens) * seconds_per_token / 60.0, study.tokens, tokens, study.max_minutes));
  } else {
    events.message(fmt::format("probe: {} tokens per model will take about {:.1f} minutes", tokens,
                               static_cast<double>(tokens) * seconds_per_token / 60.0));
  }
  write_json_file(file, nlohmann::ordered_json{{"asked", asked}, {"tokens", tokens}, {"tokens_per_s", rates}});
  return tokens;
}

bool is_complete(const StudyModel& model) {
  const fs::path written = RunFiles{model.run}.config();
  if (!fs::exists(written)) return false;
  if (read_file(written) != to_toml_in(model.run, fields_of(model.config)))
    fail(ErrorCode::kUsage,
         "{}: expected a run with the settings of this study, got one with others (choose another "
         "--out, or remove it)",
         model.run.string());
  return has_weights(RunFiles{model.run}.model());
}

void train_model(const StudyModel& model, const std::function<double()>& measure_peak, const StudyEvents& events) {
  if (is_complete(model)) return events.message(fmt::format("{}: trained before", model.name));
  PretrainOptions options;
  options.run = model.run;
  options.resume = true;
  options.measure_peak = measure_peak;
  options.interrupted = events.interrupted;
  options.message = [&](const std::string& line) { events.message(fmt::format("{}: {}", model.name, line)); };
  options.step = [&](const StepStats& stats, int64_t steps, double seconds) {
    events.step(model.name, stats, steps, seconds);
  };
  const PretrainResult result = pretrain(model.config, model.name, options);
  if (result.interrupted)
    fail(ErrorCode::kInterrupted, "interrupted in {} after step {}: run the same command again to go on", model.name,
         result.step);
}

// Totals from the last line that training wrote.
void read_totals(StudyModel& model) {
  const fs::path file = RunFiles{model.run}.metrics();
  const MetricsHistory history = read_metrics(file);
  if (!history.train.empty()) {
    model.tokens = static_cast<int64_t>(history.train.back().tokens);
    model.seconds = history.train.back().time_s;
  }
  if (model.tokens <= 0 || !(model.seconds > 0.0))
    fail(ErrorCode::kData, "{}: expected at least one line of training, got none", file.string());
}

PairedDifference compare(const DomainResult& baseline, const DomainResult& model) {
  std::vector<double> a, b;
  std::vector<int64_t> tokens;
  for (size_t i = 0; i < model.documents.size(); ++i) {
    a.push_back(baseline.documents[i].nll);
    b.push_back(model.documents[i].nll);
    tokens.push_back(model.documents[i].tokens);
  }
  return paired_difference(a, b, tokens);
}

std::vector<StudyComparison> compare(const std::vector<StudyModel>& models) {
  std::vector<StudyComparison> comparisons;
  for (size_t m = 1; m < models.size(); ++m)
    for (size_t d = 0; d < models[m].evaluation.domains.size(); ++d) {
      const DomainResult &baseline = models[0].evaluation.domains[d], &model = models[m].evaluation.domains[d];
      comparisons.push_back({.model = models[m].name,
                             .baseline = models[0].name,
                             .domain = model.domain,
                             .held_out = model.held_out,
                             .difference = compare(baseline, model)});
    }
  return comparisons;
}

}  // namespace

StudyResult run_study(const StudyConfig& config, const fs::path& out, const std::function<double()>& measure_peak,
                      const StudyEvents& events) {
  if (find_invalid_utf8(out.string()))
    fail(ErrorCode::kUsage, "{}: expected a folder whose path is UTF-8, since the configuration of each run names it",
         out.string());
  StudyResult result{.config = config, .models = {}, .comparisons = {}};
  std::vector<std::string> paths;  // of the models' configurations: read before anything is made
  for (const std::string& text : config.models) {
    const NamedPath entry = parse_named_path(text, "study.models");
    paths.push_back(entry.path);
    result.models.push_back(
        {.name = entry.name, .config = load_config<RunConfig>(paths.back()), .run = out / entry.name});
  }
  const StudyData data = prepare_study_data(config.corpus, config.vocab_size, out, events.message);
  for (size_t m = 0; m < result.models.size(); ++m) {
    StudyModel& model = result.models[m];
    complete(model.config, paths[m], config, data);
    model.params = make_parameter_table(model.config.model).num_parameters();
    model.active_params = num_active_parameters(model.config.model);
    model.flops_per_token = train_flops_per_token(model.config.model, model.config.model.context);
  }

  result.planned_tokens = plan_tokens(config, result.models, out / "plan.json", events);
  for (StudyModel& model : result.models) model.config.train.tokens = result.planned_tokens;
  for (StudyModel& model : result.models) train_model(model, measure_peak, events);
  for (StudyModel& model : result.models) {
    read_totals(model);
    model.evaluation = evaluate_model(RunFiles{model.run}.model(), model.run / "evaluation.json", config, data,
                                      [&](const std::string& domain, double share) {
                                        if (events.interrupted && events.interrupted())
                                          fail(ErrorCode::kInterrupted,
                                               "interrupted in the evaluation of {}: run the same command again to go "
                                               "on",
                                               model.name);
                                        events.evaluation(model.name + ", " + domain, share);
                                      });
  }
  result.comparisons = compare(result.models);
  return result;
}

}  // namespace troupe
