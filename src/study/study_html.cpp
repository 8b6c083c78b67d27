#include "study/study_html.h"

#include <fmt/core.h>

#include "study/study_report.h"

namespace troupe {
namespace {

std::vector<int64_t> moe_layers(const ModelConfig& config) {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    if (config.is_moe_layer(layer)) layers.push_back(layer);
  return layers;
}

std::vector<double> shares(const std::vector<int64_t>& counts) {
  double sum = 0;
  for (const int64_t count : counts) sum += static_cast<double>(count);
  std::vector<double> out;
  for (const int64_t count : counts) out.push_back(sum > 0 ? static_cast<double>(count) / sum : 0.0);
  return out;
}

std::vector<ReportLoad> expert_load(const StudyModel& model) {
  std::vector<ReportLoad> load;
  const std::vector<int64_t> layers = moe_layers(model.config.model);
  for (size_t l = 0; l < layers.size(); ++l) {
    ReportLoad& of_layer = load.emplace_back(ReportLoad{.layer = layers[l], .domains = {}, .share_NE = {}});
    for (const DomainResult& domain : model.evaluation.domains) {
      if (l >= domain.load_LE.size()) continue;
      of_layer.domains.push_back(domain_label(domain));
      of_layer.share_NE.push_back(shares(domain.load_LE[l]));
    }
  }
  return load;
}

std::string verdict(const StudyResult& result, const std::string& model) {
  int64_t sets = 0, better = 0, worse = 0;
  for (const StudyComparison& c : result.comparisons) {
    if (c.model != model) continue;
    ++sets;
    if (c.difference.is_real()) ++(c.difference.difference < 0 ? better : worse);
  }
  return fmt::format("{} against {}: better on {} of {} sets of text, worse on {}, undecided on {}.", model,
                     result.models.front().name, better, sets, worse, sets - better - worse);
}

}  // namespace

Report make_report(const StudyResult& result) {
  Report report;
  for (const StudyModel& model : result.models) report.title += (report.title.empty() ? "" : " and ") + model.name;
  report.title += " on the same tokens";
  report.notes.push_back(fmt::format(
      "{} models trained on the same {} tokens in the same order, seed {}, and evaluated in and out of domain.",
      result.models.size(), result.planned_tokens, result.config.seed));
  if (result.planned_tokens < result.config.tokens)
    report.notes.push_back(
        fmt::format("{} tokens were asked for; this machine got fewer, to keep within {:.0f} minutes.",
                    result.config.tokens, result.config.max_minutes));
  for (size_t m = 1; m < result.models.size(); ++m) report.notes.push_back(verdict(result, result.models[m].name));
  for (const StudyModel& model : result.models) {
    ReportRun run = read_run(model.run, model.name);
    run.domains.clear();
    for (const DomainResult& domain : model.evaluation.domains)
      run.domains.push_back({.name = domain.domain,
                             .held_out = domain.held_out,
                             .nll = domain.nll(),
                             .bits_per_byte = domain.bits_per_byte(),
                             .drop_rate = domain.sum.drop_rate()});
    run.load = expert_load(model);
    for (const TextSample& sample : model.evaluation.samples) run.samples.push_back({sample.prompt, sample.text});
    report.runs.push_back(std::move(run));
  }
  for (const StudyComparison& c : result.comparisons)
    report.comparisons.push_back({.baseline = c.baseline,
                                  .model = c.model,
                                  .domain = c.domain,
                                  .held_out = c.held_out,
                                  .difference = c.difference});
  return report;
}

}  // namespace troupe
