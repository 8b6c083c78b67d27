#include "study/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/quantity.h"
#include "study/figures.h"
#include "study/html.h"

namespace troupe {
namespace {

// What the x axis of a chart of training says, and a line's place on it.
struct Axis {
  bool flops = false;
  Unit unit;

  std::string label() const { return flops ? "training " + unit.name : "training tokens (" + unit.name + ")"; }
  double at(double tokens, const ModelResult& model) const {
    return (flops ? tokens * model.flops_per_token : tokens) / unit.size;
  }
};

Axis axis_of(const Report& report, bool flops) {
  double most = 0;
  for (const ModelResult& model : report.models)
    most = std::max(most, flops ? model.train_flops() : static_cast<double>(model.tokens));
  return {flops, flops ? flops_unit(most) : count_unit(most)};
}

// A value of every training line, a series a run.
Chart train_chart(const Report& report, const std::string& title, const std::string& y_label,
                  const std::function<double(const StepLine&)>& value, bool over_flops = false) {
  const Axis axis = axis_of(report, over_flops);
  Chart chart{.title = title, .x_label = axis.label(), .y_label = y_label, .series = {}};
  for (size_t r = 0; r < report.models.size(); ++r) {
    const ModelResult& model = report.models[r];
    Series series{.x = {}, .y = {}, .error = {}, .color = r};
    for (const StepLine& line : model.metrics.train) {
      series.x.push_back(axis.at(static_cast<double>(line.tokens), model));
      series.y.push_back(value(line));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

// Nats per token of one validation set, or of the mean over all ("").
Chart valid_chart(const Report& report, const std::string& title, const std::string& data, bool over_flops) {
  const Axis axis = axis_of(report, over_flops);
  Chart chart{.title = title, .x_label = axis.label(), .y_label = "nats per token", .series = {}, .clip_start = true};
  for (size_t r = 0; r < report.models.size(); ++r) {
    const ModelResult& model = report.models[r];
    const std::vector<ValidLine>& valid = model.metrics.valid;
    Series series{.x = {}, .y = {}, .error = {}, .color = r};
    for (size_t i = 0; i < valid.size();) {
      const int64_t step = valid[i].step;
      double sum = 0;
      int64_t sets = 0;
      for (; i < valid.size() && valid[i].step == step; ++i)
        if (data.empty() || valid[i].data == data) sum += valid[i].nll, ++sets;
      if (sets == 0) continue;
      series.x.push_back(axis.at(model.metrics.tokens_at(step), model));
      series.y.push_back(sum / static_cast<double>(sets));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::vector<std::string> validation_sets(const Report& report) {
  std::vector<std::string> names;
  for (const ModelResult& model : report.models)
    for (const ValidLine& line : model.metrics.valid)
      if (std::find(names.begin(), names.end(), line.data) == names.end()) names.push_back(line.data);
  return names;
}

// Statistics of the routers of one run, a series a MoE layer.
Chart router_chart(const Report& report, const ModelResult& run, const std::string& title, const std::string& y_label,
                   const std::function<double(const RouterLine&)>& value) {
  const Axis axis = axis_of(report, false);
  Chart chart{.title = title, .x_label = axis.label(), .y_label = y_label, .series = {}, .from_zero = true};
  for (size_t layer = 0; layer < run.metrics.train.front().moe.size(); ++layer) {
    Series series{.x = {}, .y = {}, .error = {}, .color = layer};
    for (const StepLine& line : run.metrics.train) {
      series.x.push_back(axis.at(static_cast<double>(line.tokens), run));
      series.y.push_back(layer < line.moe.size() ? value(line.moe[layer]) : NAN);
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

void add_losses(const Report& report, const std::vector<std::string>& names, Figures& figures) {
  figures.section("<h2>Loss</h2>\n", names);
  for (const bool over_flops : {false, true}) {
    Chart chart = train_chart(
        report, over_flops ? "Training loss over compute" : "Training loss over tokens", "nats per token",
        [](const StepLine& line) { return line.loss; }, over_flops);
    chart.clip_start = true;
    figures.add(std::move(chart), ", mean of each logging interval. The scale leaves out the first twentieth.");
  }
  const std::vector<std::string> sets = validation_sets(report);
  if (sets.empty()) return;
  const std::string part = validated_part(report.models);
  for (const bool over_flops : {false, true})
    figures.add(valid_chart(report, over_flops ? "Validation loss over compute" : "Validation loss over tokens", "",
                            over_flops),
                fmt::format(", mean of {}: {}{}.", counted(static_cast<int64_t>(sets.size()), "set"), part,
                            report.scored.empty() || report.scored.starts_with(part)
                                ? ""
                                : "; the table above is of " + html::escaped(report.scored)));
  if (sets.size() < 2) return;
  figures.section("<h3>Validation by domain</h3>\n", names);
  for (const std::string& name : sets) figures.add(valid_chart(report, name, name, false));
}

void add_training(const Report& report, const std::vector<std::string>& names, Figures& figures) {
  figures.section("<h2>Training</h2>\n", names);
  figures.add(train_chart(report, "Learning rate", "rate", [](const StepLine& line) { return line.lr; }));
  figures.add(train_chart(report, "Gradient norm", "norm", [](const StepLine& line) { return line.grad_norm; }),
              " (L2) of the last step of each logging interval, before clipping.");
  Chart speed = train_chart(report, "Tokens per second", "thousands per second",
                            [](const StepLine& line) { return line.tokens_per_s / 1e3; });
  speed.from_zero = true;
  figures.add(std::move(speed), " in training steps. What else the machine did shows here.");
}

void add_routing(const Report& report, const ModelResult& run, Figures& figures) {
  if (run.metrics.train.empty() || run.metrics.train.front().moe.empty()) return;
  std::vector<std::string> layers;
  for (const RouterLine& router : run.metrics.train.front().moe)
    layers.push_back(fmt::format("layer {}", router.layer));
  const auto ever = [&](const std::function<double(const RouterLine&)>& value) {
    return std::any_of(run.metrics.train.begin(), run.metrics.train.end(), [&](const StepLine& line) {
      return std::any_of(line.moe.begin(), line.moe.end(), [&](const RouterLine& router) { return value(router) > 0; });
    });
  };
  const auto dropped = [](const RouterLine& line) { return 100 * std::max(line.overflow1, line.overflow2); };
  const auto unused = [](const RouterLine& line) { return static_cast<double>(line.unused_experts); };
  std::string head = fmt::format("<h2>Routing: {}</h2>\n", html::escaped(run.name));
  if (!ever(dropped)) head += html::soft_paragraph("No choice was dropped in training.");
  if (!ever(unused)) head += html::soft_paragraph("Every expert had tokens in every logging interval.");
  figures.section(head, layers);
  const double experts = static_cast<double>(run.metrics.train.front().moe.front().load_E.size());
  figures.add(router_chart(report, run, "Entropy", "nats", [](const RouterLine& line) { return line.entropy; }),
              fmt::format(" of the router's probabilities; uniform over {:.0f} experts is {:.2f}.", experts,
                          std::log(experts)));
  figures.add(router_chart(report, run, "Share of the busiest fifth", "percent of choices",
                           [](const RouterLine& line) { return 100 * line.top20; }),
              fmt::format(" ({:.0f}) of the experts; balanced is {}.", std::ceil(experts / 5),
                          percent_text(std::ceil(experts / 5) / experts, 0)));
  if (ever(unused))
    figures.add(router_chart(report, run, "Experts without a token", "experts", unused), " in a logging interval.");
  if (ever(dropped))
    figures.add(router_chart(report, run, "Choices dropped", "percent of choices", dropped),
                ", the worse of first and second choices.");
}

}  // namespace

std::string charts_html(const Report& report, const std::string& gnuplot) {
  Figures figures;
  std::vector<std::string> names;
  for (const ModelResult& model : report.models) names.push_back(model.name);
  add_losses(report, names, figures);
  add_training(report, names, figures);
  for (const ModelResult& run : report.models) add_routing(report, run, figures);
  return figures.html(gnuplot, "<h2>Loss</h2>\n", " The figures are in metrics.jsonl of each run.");
}

}  // namespace troupe
