#include "study/grid/grid_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/quantity.h"
#include "eval/statistics.h"
#include "study/grid/grid_sections.h"

namespace troupe {
namespace {

std::vector<std::string> names_of(const std::vector<GridFamily>& families) {
  std::vector<std::string> names;
  for (const GridFamily& family : families) names.push_back(family.name);
  return names;
}

}  // namespace

GridView::GridView(const GridResults& results, const Factors& factors, const Factors& by_tasks, int64_t unfinished)
    : results(results),
      factors(factors),
      by_tasks(by_tasks),
      unfinished(unfinished),
      texts(texts_of(results)),
      points(mean_points(results)),
      tasks(tasks_as_texts(results)),
      task_points(mean_points(tasks)),
      families(names_of(results.grid.families)) {}

std::string GridView::spoken(const std::string& text) const {
  const auto count = [&](bool held_out) {
    return std::count_if(results.texts.begin(), results.texts.end(),
                         [&](const StudyDomain& d) { return d.held_out == held_out; });
  };
  if (text == kMeanIn) return fmt::format("in domain (mean of {})", counted(count(false), "domain"));
  if (text == kMeanOut) return fmt::format("out of domain (mean of {})", counted(count(true), "domain"));
  return text;
}

std::string GridView::at_start(const std::string& text) const {
  std::string words = spoken(text);
  words.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(words.front())));  // of ours: ASCII
  return words;
}

std::string factor_text(const FactorRow* row) {
  if (!row) return number_text(kNan, 0);
  if (!row->has_interval()) return number_text(row->factor, 2) + " (open)";
  return fmt::format("{} ({} to {})", number_text(row->factor, 2), number_text(row->low, 2), number_text(row->high, 2));
}

std::vector<ReportSection> grid_report(const GridResults& results, const Factors& factors, const Factors& by_tasks,
                                       int64_t unfinished) {
  using namespace grid_sections;
  constexpr ReportSection (*kSections[])(const GridView&) = {answer,
                                                             how_sure,
                                                             factors_by_budget,
                                                             losses,
                                                             losses_by_domain,
                                                             factors_by_domain,
                                                             other_costs,
                                                             side_by_side,
                                                             fixed_tokens,
                                                             tasks,
                                                             factors_by_task,
                                                             models,
                                                             all_losses,
                                                             fits,
                                                             rates,
                                                             made_by};
  const GridView view(results, factors, by_tasks, unfinished);
  std::vector<ReportSection> sections;
  for (const auto section : kSections)
    if (ReportSection made = section(view); !made.text.empty() || made.table.size() > 1 || !made.charts.empty())
      sections.push_back(std::move(made));
  return sections;
}

std::vector<std::vector<std::string>> quoted_factors(const GridResults& results, const Factors& factors) {
  std::vector<std::vector<std::string>> rows = {
      {"family", "text", "nats per token", "FLOPs of it", "of the baseline", "factor"}};
  for (size_t f = 1; f < results.grid.families.size(); ++f)
    for (const char* mean : {kMeanIn, kMeanOut})
      if (const FactorRow* row = factors.quoted(results.grid.families[f].name, mean, "train_flops"))
        rows.push_back({row->family, row->held_out ? "out of domain" : "in domain", number_text(row->target, 4),
                        short_flops(row->family_cost), short_flops(row->baseline_cost), factor_text(row)});
  return rows;
}

}  // namespace troupe
