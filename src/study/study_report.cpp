#include "study/study_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace troupe {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string domain_label(const DomainResult& domain) { return domain.domain + (domain.held_out ? " (held out)" : ""); }

TextTable study_table(const StudyResult& result) {
  TextTable table(1, {""});
  for (const StudyModel& model : result.models) table[0].push_back(model.name);
  const auto row = [&](const std::string& name, const auto& cell) {
    std::vector<std::string>& cells = table.emplace_back(1, name);
    for (const StudyModel& model : result.models) cells.push_back(cell(model));
  };
  row("parameters", [](const StudyModel& m) { return fmt::format("{:.2f}M", static_cast<double>(m.params) / 1e6); });
  row("active parameters",
      [](const StudyModel& m) { return fmt::format("{:.2f}M", static_cast<double>(m.active_params) / 1e6); });
  row("MFLOPs per token", [](const StudyModel& m) { return fmt::format("{:.2f}", m.flops_per_token / 1e6); });
  row("training tokens",
      [](const StudyModel& m) { return fmt::format("{:.2f}M", static_cast<double>(m.tokens) / 1e6); });
  row("training TFLOPs", [](const StudyModel& m) { return fmt::format("{:.1f}", m.train_flops() / 1e12); });
  row("training time", [](const StudyModel& m) { return fmt::format("{:.0f} s", m.seconds); });
  row("tokens/s", [](const StudyModel& m) { return fmt::format("{:.0f}", m.tokens_per_second()); });
  const auto per_domain = [&](const std::string& what, const auto& value) {
    for (size_t d = 0; d < result.models.front().evaluation.domains.size(); ++d)
      row(what + ": " + domain_label(result.models.front().evaluation.domains[d]),
          [&](const StudyModel& m) { return value(m.evaluation.domains[d]); });
  };
  per_domain("perplexity", [](const DomainResult& d) { return fmt::format("{:.2f}", d.perplexity()); });
  per_domain("bits per byte", [](const DomainResult& d) { return fmt::format("{:.4f}", d.bits_per_byte()); });
  row("choices dropped", [](const StudyModel& m) {
    LossSum sum;
    for (const DomainResult& domain : m.evaluation.domains) sum += domain.sum;
    return sum.choices ? fmt::format("{:.1f} %", 100.0 * sum.drop_rate()) : std::string("-");
  });
  return table;
}

TextTable comparison_table(const StudyResult& result) {
  TextTable table = {{"difference in nats per token", "documents", "difference", "standard error", "real?"}};
  for (const StudyComparison& c : result.comparisons)
    table.push_back({fmt::format("{} - {}: {}{}", c.model, c.baseline, c.domain, c.held_out ? " (held out)" : ""),
                     std::to_string(c.difference.documents), fmt::format("{:+.4f}", c.difference.difference),
                     c.difference.is_known() ? fmt::format("{:.4f}", c.difference.standard_error) : "-",
                     !c.difference.is_known()      ? "unknown"
                     : !c.difference.is_real()     ? "no"
                     : c.difference.difference < 0 ? "better"
                                                   : "worse"});
  return table;
}

std::string comparison_note(const StudyResult& result) {
  int64_t better = 0, worse = 0;
  for (const StudyComparison& c : result.comparisons)
    if (c.difference.is_real()) ++(c.difference.difference < 0 ? better : worse);
  return fmt::format(
      "Negative: the model predicts better than {}. Real: beyond two standard errors, with documents as units "
      "({} better, {} worse, {} undecided).",
      result.models.front().name, better, worse, static_cast<int64_t>(result.comparisons.size()) - better - worse);
}

std::vector<Json> study_lines(const StudyResult& result) {
  std::vector<Json> lines;
  for (const StudyModel& model : result.models)
    for (const DomainResult& domain : model.evaluation.domains)
      lines.push_back({{"schema", "troupe.study.point/1"},
                       {"model", model.name},
                       {"params", model.params},
                       {"params_active", model.active_params},
                       {"flops_per_token", model.flops_per_token},
                       {"train_tokens", model.tokens},
                       {"train_flops", model.train_flops()},
                       {"time_s", model.seconds},
                       {"tokens_per_s", model.tokens_per_second()},
                       {"data", domain.domain},
                       {"held_out", domain.held_out},
                       {"tokens", domain.sum.tokens},
                       {"bytes", domain.bytes},
                       {"nll", domain.nll()},
                       {"stderr", domain.standard_error},
                       {"ppl", domain.perplexity()},
                       {"bits_per_byte", domain.bits_per_byte()},
                       {"drop_rate", domain.sum.drop_rate()}});
  for (const StudyComparison& c : result.comparisons)
    lines.push_back({{"schema", "troupe.study.comparison/1"},
                     {"model", c.model},
                     {"baseline", c.baseline},
                     {"data", c.domain},
                     {"held_out", c.held_out},
                     {"documents", c.difference.documents},
                     {"difference", c.difference.difference},
                     {"stderr", c.difference.standard_error},
                     {"real", c.difference.is_real()}});
  return lines;
}

Json study_summary(const StudyResult& result) {
  Json summary = {{"schema", "troupe.study/1"},           {"seed", result.config.seed},
                  {"tokens_asked", result.config.tokens}, {"tokens", result.planned_tokens},
                  {"results", study_lines(result)},       {"samples", Json::array()}};
  for (const StudyModel& model : result.models)
    for (const TextSample& sample : model.evaluation.samples)
      summary["samples"].push_back({{"model", model.name}, {"prompt", sample.prompt}, {"text", sample.text}});
  return summary;
}

}  // namespace troupe
