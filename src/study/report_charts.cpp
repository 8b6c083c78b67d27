#include "study/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "study/chart.h"
#include "study/html.h"

namespace troupe {
namespace {

// Charts are collected first and drawn by one gnuplot.
struct Figures {
  std::vector<Chart> charts;
  std::vector<std::string> captions;  // HTML

  void add(Chart chart, std::string caption) {
    charts.push_back(std::move(chart));
    captions.push_back(std::move(caption));
  }
};

std::string grid(const Figures& figures, const std::vector<std::string>& svg, size_t begin, size_t end) {
  std::string out = figures.charts[begin].small ? "<div class=\"charts small\">\n" : "<div class=\"charts\">\n";
  for (size_t i = begin; i < end; ++i)
    out += "<figure>" + svg[i] + "<figcaption>" + figures.captions[i] + "</figcaption></figure>\n";
  return out + "</div>\n";
}

std::string legend(const std::vector<std::string>& names) {
  std::string out = "<div class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i)
    out += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", palette(i), html::escaped(names[i]));
  return out + "</div>\n";
}

std::string legend(const Report& report) {
  std::vector<std::string> names;
  for (const ReportRun& run : report.runs) names.push_back(run.name);
  return legend(names);
}

double flops_unit(const Report& report) {
  double most = 0;
  for (const ReportRun& run : report.runs) most = std::max(most, run.flops_per_token * run.tokens);
  return most >= 1e18 ? 1e18 : most >= 1e15 ? 1e15 : 1e12;
}

const char* flops_label(double unit) {
  return unit == 1e18 ? "training EFLOPs" : unit == 1e15 ? "training PFLOPs" : "training TFLOPs";
}

// One chart of a value of every training line, a series a run.
Chart train_chart(const Report& report, const std::string& y_label,
                  const std::function<double(const TrainPoint&)>& value, bool over_flops = false) {
  const double unit = flops_unit(report);
  Chart chart{
      .x_label = over_flops ? flops_label(unit) : "training tokens (millions)", .y_label = y_label, .series = {}};
  for (size_t r = 0; r < report.runs.size(); ++r) {
    const ReportRun& run = report.runs[r];
    Series series{.x = {}, .y = {}, .color = r};
    for (const TrainPoint& point : run.metrics.train) {
      series.x.push_back(over_flops ? point.tokens * run.flops_per_token / unit : point.tokens / 1e6);
      series.y.push_back(value(point));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

// Nats per token of one validation set, or of the mean over all ("").
Chart valid_chart(const Report& report, const std::string& data, bool over_flops) {
  const double unit = flops_unit(report);
  Chart chart{.x_label = over_flops ? flops_label(unit) : "training tokens (millions)",
              .y_label = "nats per token",
              .series = {}};
  for (size_t r = 0; r < report.runs.size(); ++r) {
    const ReportRun& run = report.runs[r];
    Series series{.x = {}, .y = {}, .color = r};
    for (size_t i = 0; i < run.metrics.valid.size();) {
      const int64_t step = run.metrics.valid[i].step;
      double sum = 0;
      int64_t sets = 0;
      for (; i < run.metrics.valid.size() && run.metrics.valid[i].step == step; ++i)
        if (data.empty() || run.metrics.valid[i].data == data) sum += run.metrics.valid[i].nll, ++sets;
      if (sets == 0) continue;
      const double tokens = run.metrics.tokens_at(step);
      series.x.push_back(over_flops ? tokens * run.flops_per_token / unit : tokens / 1e6);
      series.y.push_back(sum / static_cast<double>(sets));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::vector<std::string> validation_sets(const Report& report) {
  std::vector<std::string> names;
  for (const ReportRun& run : report.runs)
    for (const ValidPoint& point : run.metrics.valid)
      if (std::find(names.begin(), names.end(), point.data) == names.end()) names.push_back(point.data);
  return names;
}

// Statistics of the routers of one run, a series a MoE layer.
Chart router_chart(const ReportRun& run, const std::string& y_label,
                   const std::function<double(const RouterPoint&)>& value) {
  Chart chart{
      .x_label = "training tokens (millions)", .y_label = y_label, .series = {}, .from_zero = true, .small = true};
  const size_t layers = run.metrics.train.front().routers.size();
  for (size_t layer = 0; layer < layers; ++layer) {
    Series series{.x = {}, .y = {}, .color = layer};
    for (const TrainPoint& point : run.metrics.train) {
      series.x.push_back(point.tokens / 1e6);
      series.y.push_back(layer < point.routers.size() ? value(point.routers[layer]) : NAN);
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

bool has_routers(const ReportRun& run) {
  return !run.metrics.train.empty() && !run.metrics.train.front().routers.empty();
}

}  // namespace

std::string charts_html(const Report& report, const std::string& gnuplot) {
  Figures figures;
  std::vector<std::pair<std::string, size_t>> sections;  // HTML before the charts from this index on
  const auto section = [&](const std::string& html) { sections.emplace_back(html, figures.charts.size()); };

  section("<h2>Loss</h2>\n" + legend(report));
  for (const bool over_flops : {false, true}) {
    Chart chart = train_chart(
        report, "nats per token", [](const TrainPoint& p) { return p.loss; }, over_flops);
    chart.clip_start = true;
    figures.add(std::move(chart), fmt::format("<b>Training loss</b> over {}. The scale leaves out the first twentieth.",
                                              over_flops ? "compute" : "tokens"));
  }
  const std::vector<std::string> sets = validation_sets(report);
  if (!sets.empty()) {
    for (const bool over_flops : {false, true}) {
      Chart chart = valid_chart(report, "", over_flops);
      chart.clip_start = true;
      figures.add(std::move(chart),
                  fmt::format("<b>Validation loss</b> over {}: mean of {} set{}.", over_flops ? "compute" : "tokens",
                              sets.size(), sets.size() == 1 ? "" : "s"));
    }
    if (sets.size() > 1) {
      section("<h3>Validation by domain</h3>\n" + legend(report));
      for (const std::string& name : sets) {
        Chart chart = valid_chart(report, name, false);
        chart.clip_start = chart.small = true;
        figures.add(std::move(chart), "<b>" + html::escaped(name) + "</b>");
      }
    }
  }
  section("<h2>Training</h2>\n" + legend(report));
  Chart rate = train_chart(report, "rate", [](const TrainPoint& p) { return p.lr; });
  Chart norm = train_chart(report, "norm", [](const TrainPoint& p) { return p.grad_norm; });
  Chart speed = train_chart(report, "thousands per second", [](const TrainPoint& p) { return p.tokens_per_s / 1e3; });
  speed.from_zero = rate.small = norm.small = speed.small = true;
  figures.add(std::move(rate), "<b>Learning rate</b>");
  figures.add(std::move(norm), "<b>Gradient norm</b>");
  figures.add(std::move(speed), "<b>Tokens per second</b>");
  for (const ReportRun& run : report.runs) {
    if (!has_routers(run)) continue;
    std::vector<std::string> layers;
    for (const RouterPoint& router : run.metrics.train.front().routers)
      layers.push_back(fmt::format("layer {}", router.layer));
    const auto ever = [&](const std::function<double(const RouterPoint&)>& value) {
      return std::any_of(run.metrics.train.begin(), run.metrics.train.end(), [&](const TrainPoint& point) {
        return std::any_of(point.routers.begin(), point.routers.end(),
                           [&](const RouterPoint& router) { return value(router) > 0; });
      });
    };
    const auto dropped = [](const RouterPoint& p) { return 100 * std::max(p.overflow1, p.overflow2); };
    const auto unused = [](const RouterPoint& p) { return p.unused_experts; };
    std::string head = fmt::format("<h2>Routing: {}</h2>\n", html::escaped(run.name));
    if (!ever(dropped)) head += "<p class=\"soft\">No choice was dropped in training.</p>\n";
    if (!ever(unused)) head += "<p class=\"soft\">Every expert had tokens in every logging interval.</p>\n";
    section(head + legend(layers));
    const double experts = static_cast<double>(run.metrics.train.front().routers.front().load_E.size());
    figures.add(router_chart(run, "nats", [](const RouterPoint& p) { return p.entropy; }),
                fmt::format("<b>Entropy</b> of the router's probabilities; uniform over {:.0f} experts is {:.2f}.",
                            experts, std::log(experts)));
    figures.add(router_chart(run, "percent of choices", [](const RouterPoint& p) { return 100 * p.top20; }),
                "<b>Share of the busiest fifth</b> of the experts; balanced is about 20 %.");
    if (ever(unused))
      figures.add(router_chart(run, "experts", unused), "<b>Experts without a token</b> in a logging interval.");
    if (ever(dropped))
      figures.add(router_chart(run, "percent of choices", dropped),
                  "<b>Choices dropped</b>, the worse of first and second choices.");
  }
  const DrawnCharts drawn = draw_charts(figures.charts, gnuplot);
  if (!drawn.svg)
    return "<h2>Loss</h2>\n<p>No charts: " + html::escaped(drawn.reason) +
           ". The figures are in metrics.jsonl of each run.</p>\n";
  std::string out;
  for (size_t s = 0; s < sections.size(); ++s) {
    const size_t end = s + 1 < sections.size() ? sections[s + 1].second : figures.charts.size();
    out += sections[s].first + grid(figures, *drawn.svg, sections[s].second, end);
  }
  return out;
}

}  // namespace troupe
