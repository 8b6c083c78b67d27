#include "study/result.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/median.h"
#include "base/quantity.h"
#include "io/atomic_file.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

// Runs made before names of validation sets were told apart: of sets of one name each is shown, the second as
// "valid (2)". `sets` are those of the configuration; without two of one name a repeated line is a repeated validation.
void tell_apart(std::vector<ValidLine>& lines, size_t sets) {
  std::set<std::string> names;
  for (const ValidLine& line : lines) names.insert(line.data);
  if (names.size() >= sets) return;
  std::map<std::pair<int64_t, std::string>, int64_t> seen;
  for (ValidLine& line : lines)
    if (const int64_t count = ++seen[{line.step, line.data}]; count > 1) line.data += fmt::format(" ({})", count);
}

}  // namespace

const char* const kPairedNote =
    "± is half the 95 % interval over the documents of these two checkpoints. It holds the choice of documents, not "
    "that "
    "of trainings: with another seed a difference may be another (study.seeds).";

double DomainResult::perplexity() const { return std::exp(nll); }
std::string DomainResult::label() const { return name + (held_out ? " (held out)" : ""); }

double ModelResult::tokens_per_second() const { return seconds > 0 ? static_cast<double>(tokens) / seconds : kNan; }

ModelResult::Disturbance ModelResult::disturbance() const {
  std::vector<double> speeds;  // but that of the first interval, which pays for pages and caches
  for (size_t i = 1; i < metrics.train.size(); ++i)
    if (std::isfinite(metrics.train[i].tokens_per_s)) speeds.push_back(metrics.train[i].tokens_per_s);
  Disturbance found{.of = static_cast<int64_t>(speeds.size())};
  if (speeds.size() < 4) return found;
  const double middle = median(speeds);
  for (const double speed : speeds) {
    found.slowest = std::min(found.slowest, speed / middle);
    if (speed < 0.5 * middle) ++found.intervals;
  }
  return found;
}

const DomainResult* ModelResult::find(const DomainResult& like) const {
  const auto found =
      std::find_if(domains.begin(), domains.end(), [&](const DomainResult& own) { return own.is_same_text(like); });
  return found == domains.end() ? nullptr : &*found;
}

ModelResult read_run(const std::filesystem::path& folder, const std::string& name) {
  ModelResult run{.name = name};
  const RunFiles files{folder};
  const std::filesystem::path config_path = files.config(), metrics_path = files.metrics();
  if (!std::filesystem::exists(config_path))
    fail(ErrorCode::kData, "{}: expected the folder of a run, got {}", folder.string(),
         std::filesystem::is_directory(folder)
             ? "one without a " + config_path.filename().string()
             : std::string(std::filesystem::exists(folder) ? "a file" : "nothing of this name"));
  run.config_text = read_file(config_path);
  FieldList fields = fields_of(run.config);
  read_config_text(run.config_text, config_path.string(), folder, fields);
  const ModelConfig& model = run.config.model;
  run.params = make_parameter_table(model).num_parameters();
  run.active_params = num_active_parameters(model);
  run.flops_per_token = train_flops_per_token(model, model.context);
  run.steps = num_steps(run.config);
  run.metrics = read_metrics(metrics_path);
  tell_apart(run.metrics.valid, run.config.data.valid.size());
  if (run.metrics.train.empty())
    fail(ErrorCode::kData, "{}: expected at least one line of training, got none", metrics_path.string());
  const StepLine& last = run.metrics.train.back();
  run.step = last.step, run.tokens = last.tokens, run.seconds = last.time_s;
  run.computed_by = RunHistory(folder).computed_by();
  for (const ValidLine& line : run.metrics.valid)
    if (line.step == run.metrics.valid.back().step)
      run.domains.push_back({.name = line.data,
                             .tokens = line.tokens,
                             .nll = line.nll,
                             .bits_per_byte = line.bits_per_byte,
                             .drop_rate = line.drop_rate,
                             .documents = line.documents,
                             .load_LE = {}});
  return run;
}

std::vector<Comparison> compare_to_first(const std::vector<ModelResult>& models) {
  std::vector<Comparison> comparisons;
  for (size_t m = 1; m < models.size(); ++m)
    for (const DomainResult& domain : models[m].domains)
      if (const DomainResult* baseline = models[0].find(domain))
        if (const auto difference = paired_difference(baseline->documents, domain.documents))
          comparisons.push_back({.model = models[m].name,
                                 .baseline = models[0].name,
                                 .domain = domain,
                                 .difference = *difference});
  return comparisons;
}

ComparisonLine comparison_line(const Comparison& c, const std::string& schema) {
  return {.schema = schema,
          .model = c.model,
          .baseline = c.baseline,
          .data = c.domain.name,
          .held_out = c.domain.held_out,
          .documents = c.difference.documents,
          .difference = c.difference.difference,
          .standard_error = c.difference.standard_error,
          .half_interval = c.difference.half_interval(),
          .real = c.difference.verdict() == Verdict::kBetter || c.difference.verdict() == Verdict::kWorse,
          .verdict = std::string(name_of_enum(c.difference.verdict()))};
}

const Comparison* find(const std::vector<Comparison>& comparisons, const std::string& model, const DomainResult& text) {
  const auto found = std::find_if(comparisons.begin(), comparisons.end(), [&](const Comparison& c) {
    return c.model == model && c.domain.is_same_text(text);
  });
  return found == comparisons.end() ? nullptr : &*found;
}

std::string summary_of(const std::vector<Comparison>& comparisons, const std::string& model) {
  std::map<Verdict, int64_t> counts;
  int64_t sets = 0;
  std::string baseline;
  for (const Comparison& c : comparisons)
    if (c.model == model) ++counts[c.difference.verdict()], ++sets, baseline = c.baseline;
  if (sets == 0) return {};
  std::string text =
      fmt::format("{} against {}: better on {} of {} of text, worse on {}, undecided on {}", model, baseline,
                  counts[Verdict::kBetter], counted(sets, "set"), counts[Verdict::kWorse], counts[Verdict::kUndecided]);
  if (const int64_t unknown = counts[Verdict::kUnknown]) text += fmt::format(", unknown on {} (one document)", unknown);
  return text + ".";
}

std::string validated_part(const std::vector<ModelResult>& runs) {
  std::string text;
  for (const ModelResult& run : runs) {
    const int64_t tokens = run.config.train.valid_tokens;
    const std::string part = tokens > 0 ? fmt::format("the first {} tokens of each set, cut at a document",
                                                      short_number(static_cast<double>(tokens)))
                                        : std::string("all of each set");
    if (text.empty()) text = part;
    if (text != part) return "parts of the sets that differ between the runs (train.valid_tokens)";
  }
  return text;
}

std::vector<DomainResult> all_domains(const std::vector<ModelResult>& models) {
  std::vector<DomainResult> domains;
  for (const bool held_out : {false, true})
    for (const ModelResult& model : models)
      for (const DomainResult& domain : model.domains)
        if (domain.held_out == held_out && std::none_of(domains.begin(), domains.end(), [&](const DomainResult& known) {
              return known.is_same_text(domain);
            }))
          domains.push_back(domain);
  return domains;
}

}  // namespace troupe
