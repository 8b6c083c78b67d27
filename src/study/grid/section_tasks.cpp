#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/quantity.h"
#include "eval/statistics.h"
#include "study/grid/grid_sections.h"

namespace troupe::grid_sections {
namespace {

// The tasks, and their mean if there are several: as texts of view.task_points.
std::vector<std::string> task_names(const GridView& view) {
  std::vector<std::string> names = view.tasks.domains;
  if (names.size() > 1) names.emplace_back("mean of tasks");
  return names;
}

// Better than blind choices at the largest run: beyond 95 % of its items' chance.
std::string against_chance(const GridView& view, const TaskFacts& task) {
  const FinishedRun* largest = nullptr;
  for (const FinishedRun& run : view.results.finals)
    if (find_scores(run.record.tasks, task) &&
        (!largest || view.results.grid.train_flops(view.results.grid.points[run.run.point]) >
                         view.results.grid.train_flops(view.results.grid.points[largest->run.point])))
      largest = &run;
  std::string line = fmt::format("{}: {}{}", task.task, counted(task.items, "item"),
                                 task.left_out ? fmt::format(" ({} left out)", task.left_out) : "");
  if (!std::isfinite(task.chance) || !largest) return line + ".";
  const double share = find_scores(largest->record.tasks, task)->accuracy();
  const double half = kNormal95 * std::sqrt(task.chance * (1 - task.chance) / static_cast<double>(task.items));
  return line + fmt::format("; blind choices are right in {:.1f} % of them, the largest run in {:.1f} %{}.",
                            100 * task.chance, 100 * share,
                            share > task.chance + half ? "" : ": no more than chance, so that its factors say nothing");
}

}  // namespace

ReportSection tasks(const GridView& view) {
  ReportSection section{.title = "Tasks", .text = {}, .table = {}, .lines = view.families, .charts = {}};
  if (view.results.tasks.empty()) return section;
  section.text.push_back("Share of items that are answered right, without examples in front, in percent.");
  for (const TaskFacts& task : view.results.tasks) section.text.push_back(against_chance(view, task));
  if (const int64_t lack = without_tasks(view.results); lack > 0)
    section.text.push_back(
        fmt::format("{} measured before tasks were asked for, and without scores of them.", counted(lack, "run")));
  if (view.task_points.empty()) return section;
  const std::vector<std::string> names = task_names(view);
  std::vector<std::string> header = {"point", "seeds", "FLOPs"};
  header.insert(header.end(), names.begin(), names.end());
  section.table = {header};
  double most = 1.0;
  for (const MeanPoint& mean : view.task_points) {
    most = std::max(most, view.results.grid.train_flops(view.point_of(mean)));
    section.table.push_back({view.results.grid.name(view.point_of(mean)), std::to_string(mean.seeds),
                             short_flops(view.results.grid.train_flops(view.point_of(mean)))});
    for (size_t t = 0; t < names.size(); ++t)
      section.table.back().push_back(number_text(100.0 * (1.0 - mean.nll[t]), 1));
  }
  const Unit unit = flops_unit(most);
  for (size_t t = 0; t < names.size(); ++t) {
    Chart chart{
        .title = names[t], .x_label = "training " + unit.name, .y_label = "right, %", .series = {}, .log_x = true};
    for (size_t f = 0; f < view.families.size(); ++f) {
      Series series{.x = {}, .y = {}, .error = {}, .color = f};
      for (const MeanPoint& mean : view.task_points) {
        if (view.model_of(mean).family != view.families[f]) continue;
        // Alone: accuracies of small models go up and down.
        series.x.insert(series.x.end(), {kNan, view.results.grid.train_flops(view.point_of(mean)) / unit.size});
        series.y.insert(series.y.end(), {kNan, 100.0 * (1.0 - mean.nll[t])});
      }
      chart.series.push_back(std::move(series));
    }
    section.charts.push_back(std::move(chart));
  }
  return section;
}

ReportSection factors_by_task(const GridView& view) {
  ReportSection section{.title = "Factors by tasks", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"family", "task", "right, %", "FLOPs", "seconds", "memory"}};
  const std::vector<std::string> names = task_names(view);
  for (const std::string& family : view.others())
    for (size_t t = 0; t < names.size(); ++t) {
      const std::string text = t < view.tasks.domains.size() ? names[t] : kMeanIn;
      const FactorRow* flops = view.by_tasks.quoted(family, text, "train_flops");
      if (!flops) continue;
      section.table.push_back({family, names[t], number_text(100.0 * (1.0 - flops->target), 1), factor_text(flops),
                               factor_text(view.by_tasks.quoted(family, text, "seconds")),
                               factor_text(view.by_tasks.quoted(family, text, "memory_bytes"))});
    }
  if (section.table.size() > 1)
    section.text = {
        "How many times less each family needs to answer as many items right: the same factor, with the share of "
        "wrong "
        "answers in the place of the loss and items in that of documents. The accuracy is that of the factor by "
        "FLOPs."};
  return section;
}

}  // namespace troupe::grid_sections
