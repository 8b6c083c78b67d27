#include "study/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/quantity.h"
#include "io/atomic_file.h"
#include "study/html.h"
#include "study/report_charts.h"
#include "study/report_tables.h"

namespace troupe {
namespace {

std::string samples_html(const Report& report) {
  std::string out;
  bool cut = false;
  for (const auto& [model, sample] : samples_by_prompt(report.models)) {
    const bool ended = sample->finish == "end_of_text";
    cut |= !ended;
    out += fmt::format("<blockquote><cite>{}</cite><b>{}</b>{}{}</blockquote>\n", html::escaped(model->name),
                       html::escaped(sample->prompt), html::escaped(sample->text),
                       ended ? " <span class=\"soft\">[end of text]</span>" : " <span class=\"soft\">[…]</span>");
  }
  if (out.empty()) return out;
  return "<h2>Samples</h2>\n" +
         html::soft_paragraph(
             fmt::format("Continuations of the bold openings{}{}. {}[end of text]: the model ended it.",
                         report.sampling.empty() ? "" : ": ", html::escaped(report.sampling),
                         cut ? "[…]: cut at the most tokens. " : "")) +
         "<div class=\"samples\">\n" + out + "</div>\n";
}

std::string configs_html(const Report& report) {
  std::string out;
  for (const ModelResult& model : report.models) {
    if (model.config_text.empty()) continue;
    std::string by;
    for (const std::string& line : model.computed_by) by += "# " + line + "\n";
    out += fmt::format("<details><summary>{}</summary><pre>{}{}</pre></details>\n", html::escaped(model.name),
                       html::escaped(by), html::escaped(model.config_text));
  }
  return out.empty() ? out : "<h2>Configuration</h2>\n" + out;
}

}  // namespace

std::vector<ModelSample> samples_by_prompt(const std::vector<ModelResult>& models) {
  std::vector<ModelSample> samples;
  size_t prompts = 0;
  for (const ModelResult& model : models) prompts = std::max(prompts, model.samples.size());
  for (size_t i = 0; i < prompts; ++i)
    for (const ModelResult& model : models)
      if (i < model.samples.size()) samples.push_back({&model, &model.samples[i]});
  return samples;
}

std::string paired_text(const PairedDifference& difference) {
  const double half = difference.half_interval();
  const std::string text = difference_text(difference.difference, 4);
  return std::isnan(half) ? text : text + " ± " + number_text(half, 4);
}

std::string spread_text(const Spread& spread) {
  if (spread.values.empty()) return number_text(kNan, 0);
  const double half = spread.half_interval();
  const std::string text = difference_text(spread.mean(), 4);
  return std::isnan(half) ? text : text + " ± " + number_text(half, 4);
}

std::string disturbance_text(const ModelResult& model) {
  const ModelResult::Disturbance found = model.disturbance();
  if (found.intervals == 0) return {};
  return fmt::format(
      "{}: {} of {} logging intervals ran at less than half the median speed, the slowest at {}: something else used "
      "the "
      "machine, and time and tokens/s are not what it can do.",
      model.name, found.intervals, found.of, percent_text(found.slowest, 0));
}

Report make_report(std::vector<ModelResult> runs) {
  Report report;
  for (const ModelResult& run : runs) report.title += (report.title.empty() ? "" : " and ") + run.name;
  report.comparisons = compare_to_first(runs);
  for (size_t r = 1; r < runs.size(); ++r)
    if (const std::string text = summary_of(report.comparisons, runs[r].name); !text.empty())
      report.notes.push_back(text);
  report.scored = validated_part(runs) + ", at each run's last validation";
  report.models = std::move(runs);
  return report;
}

std::string to_html(const Report& report, const std::string& gnuplot) {
  std::string out;
  for (const std::string& note : report.notes) out += html::paragraph(note);
  out += models_table(report) + domains_table(report) + seeds_table(report);
  out += charts_html(report, gnuplot);
  out += load_tables(report) + samples_html(report) + configs_html(report);
  return html::page(report.title, out);
}

void write_report(const std::filesystem::path& path, const Report& report) {
  write_file_atomically(path, to_html(report));
}

}  // namespace troupe
