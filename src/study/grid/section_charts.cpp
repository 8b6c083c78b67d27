#include <algorithm>
#include <set>

#include "base/quantity.h"
#include "eval/statistics.h"
#include "study/grid/frontier.h"
#include "study/grid/grid_sections.h"

namespace troupe::grid_sections {
namespace {

// Lines of families over a cost: the frontier, and beside it the points that are not on it.
Chart loss_chart(const GridView& view, size_t text, const std::string& title) {
  double most = 1.0;
  for (const MeanPoint& mean : view.points) most = std::max(most, view.results.grid.train_flops(view.point_of(mean)));
  const Unit unit = flops_unit(most);
  Chart chart{
      .title = title, .x_label = "training " + unit.name, .y_label = "nats per token", .series = {}, .log_x = true};
  for (size_t f = 0; f < view.families.size(); ++f) {
    std::vector<CostPoint> points;
    for (size_t p = 0; p < view.points.size(); ++p)
      if (view.model_of(view.points[p]).family == view.families[f])
        points.push_back(
            {view.results.grid.train_flops(view.point_of(view.points[p])) / unit.size, view.points[p].nll[text], p});
    Series series{.x = {}, .y = {}, .error = {}, .color = f};
    const std::vector<CostPoint> line = frontier_of(points);
    std::set<size_t> on_line;
    for (const CostPoint& point : line)
      series.x.push_back(point.cost), series.y.push_back(point.nll), on_line.insert(point.index);
    for (const CostPoint& point : points)
      if (!on_line.contains(point.index))
        series.x.insert(series.x.end(), {kNan, point.cost}), series.y.insert(series.y.end(), {kNan, point.nll});
    chart.series.push_back(std::move(series));
  }
  return chart;
}

// A factor and its interval; a gap without a factor, and no bar without an interval.
void push_factor(Series& series, const FactorRow* row) {
  series.y.push_back(row ? row->factor : kNan);
  series.low.push_back(row && row->has_interval() ? row->low : kNan);
  series.high.push_back(row && row->has_interval() ? row->high : kNan);
}

Chart factor_chart(const GridView& view, const std::string& text, const std::string& title) {
  double most = 1.0;
  for (const FactorRow& row : view.factors.rows)
    if (row.form == "frontier" && row.measure == "train_flops") most = std::max(most, row.family_cost);
  const Unit unit = flops_unit(most);
  Chart chart{.title = title,
              .x_label = "training " + unit.name + " of the family",
              .y_label = "factor",
              .series = {},
              .log_x = true,
              .level = 1.0};
  for (size_t f = 1; f < view.families.size(); ++f) {
    Series series{.x = {}, .y = {}, .error = {}, .color = f};
    for (const FactorRow& row : view.factors.rows)
      if (row.form == "frontier" && row.measure == "train_flops" && row.domain == text &&
          row.family == view.families[f])
        series.x.push_back(row.family_cost / unit.size), push_factor(series, &row);
    chart.series.push_back(std::move(series));
  }
  return chart;
}

}  // namespace

ReportSection losses(const GridView& view) {
  ReportSection section{.title = "Loss over compute", .text = {}, .table = {}, .lines = view.families, .charts = {}};
  if (view.points.empty()) return section;
  section.text = {
      "Lines join the points that no cheaper one of the family beats; the others stand alone. Seeds are averaged."};
  for (size_t text = view.results.texts.size(); text < view.texts.names.size(); ++text)
    section.charts.push_back(loss_chart(view, text, view.spoken(view.texts.names[text])));
  return section;
}

ReportSection losses_by_domain(const GridView& view) {
  ReportSection section{
      .title = "Loss over compute by domain", .text = {}, .table = {}, .lines = view.families, .charts = {}};
  if (view.points.empty()) return section;
  for (size_t text = 0; text < view.results.texts.size(); ++text)
    section.charts.push_back(
        loss_chart(view, text, view.texts.names[text] + (view.texts.held_out[text] ? ", never trained on" : "")));
  return section;
}

ReportSection factors_by_budget(const GridView& view) {
  ReportSection section{.title = "Factors over compute", .text = {}, .table = {}, .lines = view.families, .charts = {}};
  if (view.factors.rows.empty()) return section;
  section.text = {
      "How the factor moves with the budget. Bars are 95 % intervals, where one can be told; the dotted line is no "
      "gain."};
  for (const char* mean : {kMeanIn, kMeanOut})
    if (std::find(view.texts.names.begin(), view.texts.names.end(), mean) != view.texts.names.end())
      section.charts.push_back(factor_chart(view, mean, view.spoken(mean)));
  return section;
}

ReportSection factors_by_domain(const GridView& view) {
  ReportSection section{.title = "Factors by domain", .text = {}, .table = {}, .lines = view.families, .charts = {}};
  if (view.factors.rows.empty()) return section;
  section.text = {"By FLOPs, at the largest run of each family whose loss the baseline reached, with 95 % intervals."};
  std::vector<std::string> header = {"domain"};
  for (const std::string& family : view.others()) header.push_back(family);
  section.table = {header};
  Chart chart{.title = "By rows of the table",
              .x_label = "row of the table",
              .y_label = "factor",
              .series = {},
              .rows = static_cast<int64_t>(view.texts.names.size()),
              .level = 1.0};
  for (size_t f = 1; f < view.families.size(); ++f) chart.series.push_back({.x = {}, .y = {}, .error = {}, .color = f});
  for (size_t text = 0; text < view.texts.names.size(); ++text) {
    const bool mean = text >= view.results.texts.size();
    std::vector<std::string> row = {fmt::format(
        "{}. {}", text + 1,
        mean ? view.spoken(view.texts.names[text]) : view.texts.names[text] + (view.texts.held_out[text] ? " *" : ""))};
    for (size_t f = 1; f < view.families.size(); ++f) {
      const FactorRow* quoted = view.factors.quoted(view.families[f], view.texts.names[text], "train_flops");
      row.push_back(factor_text(quoted));
      Series& series = chart.series[f - 1];
      series.x.push_back(static_cast<double>(text + 1));
      push_factor(series, quoted);
    }
    section.table.push_back(row);
  }
  // Points side by side, without lines between domains.
  for (size_t s = 0; s < chart.series.size(); ++s) {
    Series apart{.x = {}, .y = {}, .error = {}, .color = s + 1};
    const double shift = 0.6 * ((static_cast<double>(s) + 0.5) / static_cast<double>(chart.series.size()) - 0.5);
    for (size_t i = 0; i < chart.series[s].x.size(); ++i) {
      apart.x.insert(apart.x.end(), {chart.series[s].x[i] + shift, kNan});
      apart.y.insert(apart.y.end(), {chart.series[s].y[i], kNan});
      apart.low.insert(apart.low.end(), {chart.series[s].low[i], kNan});
      apart.high.insert(apart.high.end(), {chart.series[s].high[i], kNan});
    }
    chart.series[s] = std::move(apart);
  }
  section.charts.push_back(std::move(chart));
  section.text.push_back("* never trained on.");
  return section;
}

}  // namespace troupe::grid_sections
