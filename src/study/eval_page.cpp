#include "study/eval_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "eval/tasks/builtin_tasks.h"
#include "study/chart.h"
#include "study/html.h"

namespace troupe {
namespace {

std::string plus_minus(double value, double half, double scale, int decimals) {
  const std::string text = html::number(scale * value, decimals);
  return std::isfinite(half) ? text + " ± " + html::number(scale * half, decimals) : text;
}

bool is_accuracy(const EvalFigure& figure) { return std::isfinite(figure.chance); }

// Percent of everything that is a share; nats and perplexities as they are.
double scale_of(const EvalFigure& figure) {
  const bool plain = figure.kind != EvalFigure::kTask || figure.metric == "perplexity";
  return plain && figure.metric != "pct_stereotype" ? 1.0 : 100.0;
}

// One row per key, in the order of the results.
std::vector<std::string> keys(const EvalResults& results, EvalFigure::Kind kind, bool groups) {
  std::vector<std::string> list;
  std::set<std::string> known;
  for (const EvalFigure& figure : results.figures)
    if (figure.kind == kind && (kind != EvalFigure::kTask || groups == !figure.group.empty()))
      if (known.insert(figure.key()).second) list.push_back(figure.key());
  return list;
}

const EvalFigure& any_of_key(const EvalResults& results, const std::string& key) {
  for (size_t m = 0;; ++m)
    if (const EvalFigure* figure = results.find(m, key)) return *figure;
}

bool anyone_has(const EvalResults& results, const std::string& key) {
  for (size_t m = 0; m < results.models.size(); ++m)
    if (results.find(m, key)) return true;
  return false;
}

// Whether a model's figure is one of a part of the items (--limit).
bool is_partial(const EvalResults& results, const std::string& key) {
  for (size_t m = 0; m < results.models.size(); ++m)
    if (const EvalFigure* figure = results.find(m, key); figure && figure->left_out > 0) return true;
  return false;
}
constexpr const char* kPartial = " <span class=\"worse\">(a part of the data)</span>";

std::string items_text(const EvalFigure& figure) {
  return figure.left_out > 0 ? fmt::format("{} of {}", figure.n, figure.n + figure.left_out)
                             : fmt::format("{}", figure.n);
}

std::string models_table(const EvalResults& results) {
  std::string rows;
  for (const EvaluatedModel& model : results.models)
    rows += fmt::format("<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                        html::escaped(model.name), model.family(), html::scaled(model.params),
                        html::scaled(model.active_params),
                        std::isfinite(model.train_tokens) ? html::scaled(model.train_tokens) : "–",
                        std::isfinite(model.train_flops) ? html::flops(model.train_flops) : "–");
  return "<h2>Models</h2>\n<div class=\"scroll\"><table><thead><tr><th>model</th><th>family</th><th>parameters</th>"
         "<th>active</th><th>tokens</th><th>training</th></tr></thead><tbody>\n" +
         rows +
         "</tbody></table></div>\n<p class=\"soft\">Active: parameters that one token passes through. FLOPs of "
         "training: forward and backward, nothing recomputed.</p>\n";
}

// Rows of figures, a column a model. A row whose models were measured on different data or items says so.
std::string figures_table(const EvalResults& results, const std::vector<std::string>& rows) {
  const bool shots =
      std::any_of(rows.begin(), rows.end(), [&](const std::string& key) { return any_of_key(results, key).shots > 0; });
  const bool chance = std::any_of(rows.begin(), rows.end(),
                                  [&](const std::string& key) { return is_accuracy(any_of_key(results, key)); });
  std::string out = fmt::format(
      "<div class=\"scroll\"><table><thead><tr><th></th><th>convention</th><th>metric</th>{}"
      "<th>n</th>{}",
      shots ? "<th>shots</th>" : "", chance ? "<th>chance</th>" : "");
  for (const EvaluatedModel& model : results.models) out += "<th>" + html::escaped(model.name) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const std::string& key : rows) {
    const EvalFigure& first = any_of_key(results, key);
    bool same_data = true;
    std::string cells;
    for (size_t m = 0; m < results.models.size(); ++m) {
      const EvalFigure* figure = results.find(m, key);
      if (figure) same_data = same_data && figure->data_checksum == first.data_checksum && figure->n == first.n;
      cells += "<td>" +
               (figure ? plus_minus(figure->value, figure->half_interval, scale_of(*figure),
                                    scale_of(*figure) == 100.0 ? 1 : 3)
                       : "–") +
               "</td>";
    }
    const std::string name = first.group.empty()               ? first.set
                             : first.kind == EvalFigure::kBias ? first.set + ", " + first.group
                                                               : first.group;
    out += fmt::format("<tr><th>{}{}{}</th><td>{}</td><td>{}</td>", html::escaped(name),
                       same_data ? "" : " <span class=\"worse\">(different data)</span>",
                       is_partial(results, key) ? kPartial : "", html::escaped(first.convention), html::escaped(first.metric));
    if (shots) out += fmt::format("<td>{}</td>", first.shots);
    out += "<td>" + items_text(first) + "</td>";
    if (chance) out += "<td>" + (is_accuracy(first) ? html::number(100.0 * first.chance, 1) : "–") + "</td>";
    out += cells + "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

// Models of one family, those of known compute, by compute.
struct Family {
  std::string name;
  std::vector<size_t> models;
};

std::vector<Family> families(const EvalResults& results) {
  std::map<std::pair<int64_t, std::string>, std::vector<size_t>> found;  // dense first
  for (size_t m = 0; m < results.models.size(); ++m)
    if (std::isfinite(results.models[m].train_flops))
      found[{results.models[m].experts, results.models[m].family()}].push_back(m);
  std::vector<Family> list;
  for (auto& [key, models] : found) {
    std::sort(models.begin(), models.end(),
              [&](size_t a, size_t b) { return results.models[a].train_flops < results.models[b].train_flops; });
    list.push_back({key.second, std::move(models)});
  }
  return list;
}

std::string legend(const std::vector<std::string>& names) {
  std::string out = "<div class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i)
    out += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", palette(i), html::escaped(names[i]));
  return out + "</div>\n";
}

// A value of a model with half its 95 % interval; NaN where there is none.
struct Point {
  double value = NAN, half = NAN;
};

class Charts {
 public:
  explicit Charts(const EvalResults& results) : results_(results), families_(families(results)) {
    double most = 0.0;
    for (const EvaluatedModel& model : results.models)
      if (std::isfinite(model.train_flops)) most = std::max(most, model.train_flops);
    unit_ = most >= 1e21 ? 1e21 : most >= 1e18 ? 1e18 : most >= 1e15 ? 1e15 : 1e12;
    unit_name_ = unit_ == 1e21 ? "ZFLOPs" : unit_ == 1e18 ? "EFLOPs" : unit_ == 1e15 ? "PFLOPs" : "TFLOPs";
  }
  bool has_compute() const { return !families_.empty(); }

  // Opens a section of charts, whose lines are the families (each once per label).
  void section(const std::string& heading, const std::vector<std::string>& labels = {""}) {
    std::vector<std::string> names;
    for (const std::string& label : labels)
      for (const Family& family : families_) names.push_back(label.empty() ? family.name : family.name + ", " + label);
    sections_.emplace_back(heading + legend(names), charts_.size());
  }
  // `value(model, label)` over compute.
  template <class Value>
  void add(const std::string& caption, const char* y_label, double level, bool small, size_t labels,
           const Value& value) {
    Chart chart{.x_label = std::string("training ") + unit_name_, .y_label = y_label, .series = {}, .small = small};
    chart.log_x = true, chart.level = level;
    for (size_t label = 0; label < labels; ++label)
      for (const Family& family : families_) {
        Series series{.x = {}, .y = {}, .error = {}, .color = chart.series.size()};
        for (const size_t model : family.models) {
          const Point point = value(model, label);
          series.x.push_back(results_.models[model].train_flops / unit_);
          series.y.push_back(point.value), series.error.push_back(point.half);
        }
        chart.series.push_back(std::move(series));
      }
    charts_.push_back(std::move(chart)), captions_.push_back(caption);
  }

  std::string html(const std::string& gnuplot) const {
    const DrawnCharts drawn = draw_charts(charts_, gnuplot);
    if (!drawn.svg) return "<p>No charts: " + html::escaped(drawn.reason) + ".</p>\n";
    std::string out;
    for (size_t s = 0; s < sections_.size(); ++s) {
      const size_t begin = sections_[s].second,
                   end = s + 1 < sections_.size() ? sections_[s + 1].second : charts_.size();
      if (begin == end) continue;
      out +=
          sections_[s].first + (charts_[begin].small ? "<div class=\"charts small\">\n" : "<div class=\"charts\">\n");
      for (size_t i = begin; i < end; ++i)
        out += "<figure>" + (*drawn.svg)[i] + "<figcaption>" + captions_[i] + "</figcaption></figure>\n";
      out += "</div>\n";
    }
    return out;
  }

 private:
  const EvalResults& results_;
  std::vector<Family> families_;
  double unit_ = 1.0;
  const char* unit_name_ = "";
  std::vector<Chart> charts_;
  std::vector<std::string> captions_;
  std::vector<std::pair<std::string, size_t>> sections_;
};

// Of each task the accuracy that stands for it: the paper's convention where it has one.
std::vector<EvalFigure> main_accuracies(const EvalResults& results) {
  std::map<std::string, EvalFigure> of_task;
  for (const EvalFigure& figure : results.figures) {
    if (figure.kind != EvalFigure::kTask || !figure.group.empty() || figure.metric != "acc" || !is_accuracy(figure))
      continue;
    const auto [at, is_new] = of_task.try_emplace(figure.set, figure);
    if (!is_new && at->second.convention != "paper" && figure.convention == "paper") at->second = figure;
  }
  std::vector<EvalFigure> list;
  for (auto& [task, figure] : of_task) list.push_back(std::move(figure));
  return list;
}

std::string key_with_shots(EvalFigure figure, int64_t shots) {
  figure.shots = shots;
  return figure.key();
}

// The study's six tasks if every model has them, else all that every model has; none of which only a part was measured.
std::vector<EvalFigure> average_tasks(const EvalResults& results, int64_t shots) {
  std::vector<EvalFigure> common, six;
  for (const EvalFigure& figure : main_accuracies(results)) {
    bool all = !is_partial(results, key_with_shots(figure, shots));
    for (size_t m = 0; m < results.models.size(); ++m) all = all && results.find(m, key_with_shots(figure, shots));
    if (!all) continue;
    common.push_back(figure);
    if (std::find(std::begin(kStudyTasks), std::end(kStudyTasks), figure.set) != std::end(kStudyTasks) &&
        figure.convention == "paper")
      six.push_back(figure);
  }
  return six.size() == std::size(kStudyTasks) ? six : common;
}

std::string names_of(const std::vector<EvalFigure>& tasks) {
  std::string out;
  for (const EvalFigure& task : tasks) out += (out.empty() ? "" : ", ") + task.set + " (" + task.convention + ")";
  return html::escaped(out);
}

// Mean of `value(task, model)` over tasks, errors of the tasks being independent.
template <class Value>
Point mean_over(const std::vector<EvalFigure>& tasks, const Value& value) {
  double sum = 0.0, squares = 0.0;
  for (const EvalFigure& task : tasks) {
    const Point point = value(task);
    sum += point.value, squares += point.half * point.half;
  }
  const auto count = static_cast<double>(tasks.size());
  return {sum / count, std::sqrt(squares) / count};
}

double mean_chance(const std::vector<EvalFigure>& tasks) {
  return 100.0 * mean_over(tasks, [](const EvalFigure& task) { return Point{task.chance, 0.0}; }).value;
}

void add_accuracy_charts(const EvalResults& results, Charts& charts) {
  const auto accuracy = [&](const EvalFigure& task, size_t model) {
    const EvalFigure* figure = results.find(model, key_with_shots(task, 0));
    return figure ? Point{100.0 * figure->value, 100.0 * figure->half_interval} : Point{};
  };
  charts.section("<h2>Accuracy over training compute</h2>\n");
  if (const std::vector<EvalFigure> tasks = average_tasks(results, 0); !tasks.empty())
    charts.add(fmt::format("<b>Zero-shot accuracy</b>, {}{}. Bars: 95 % intervals over items; dotted: chance.",
                           tasks.size() > 1 ? fmt::format("mean of {} tasks: ", tasks.size()) : "", names_of(tasks)),
               "percent", mean_chance(tasks), false, 1, [&](size_t model, size_t) {
                 return mean_over(tasks, [&](const EvalFigure& task) { return accuracy(task, model); });
               });
  charts.section("<h3>Each task, zero-shot</h3>\n");
  for (const EvalFigure& task : main_accuracies(results))
    if (anyone_has(results, key_with_shots(task, 0)))
      charts.add(fmt::format("<b>{}</b> ({}){}", html::escaped(task.set), html::escaped(task.convention),
                             is_partial(results, key_with_shots(task, 0)) ? kPartial : ""),
                 "percent",
                 100.0 * task.chance, true, 1, [&](size_t model, size_t) { return accuracy(task, model); });
}

std::vector<int64_t> shots_in(const EvalResults& results) {
  std::set<int64_t> shots;
  for (const EvalFigure& figure : results.figures)
    if (figure.shots > 0) shots.insert(figure.shots);
  return {shots.begin(), shots.end()};
}

// None where the two were not measured on the same items.
Point gain(const EvalResults& results, const EvalFigure& task, size_t model, int64_t shots) {
  const EvalFigure *with = results.find(model, key_with_shots(task, shots)),
                   *without = results.find(model, key_with_shots(task, 0));
  if (!with || !without || with->n != without->n || with->data_checksum != without->data_checksum) return {};
  return {100.0 * (with->value - without->value), 100.0 * with->half_interval};
}

void add_gain_charts(const EvalResults& results, const std::vector<int64_t>& shots, Charts& charts) {
  struct Label {
    int64_t shots;
    std::vector<EvalFigure> tasks;
  };
  std::vector<std::string> names;
  std::vector<Label> labels;
  std::string caption =
      "<b>Accuracy with examples minus without</b>, mean over tasks. Bars: 95 % t-intervals over draws of examples.";
  for (const int64_t count : shots) {
    std::vector<EvalFigure> both;
    for (const EvalFigure& task : average_tasks(results, count))
      if (std::isfinite(gain(results, task, 0, count).value) && !is_partial(results, key_with_shots(task, 0)))
        both.push_back(task);
    if (both.empty()) continue;
    names.push_back(fmt::format("{} shots", count));
    caption += fmt::format(" {} shots: {}.", count, names_of(both));
    labels.push_back({count, std::move(both)});
  }
  if (labels.empty()) return;
  charts.section("<h2>Gain from shots</h2>\n", names);
  charts.add(caption, "points", 0.0, false, labels.size(), [&](size_t model, size_t label) {
    return mean_over(labels[label].tasks,
                     [&](const EvalFigure& task) { return gain(results, task, model, labels[label].shots); });
  });
}

std::string gain_table(const EvalResults& results, const std::vector<int64_t>& shots) {
  std::string rows;
  for (const EvalFigure& task : main_accuracies(results))
    for (const int64_t count : shots) {
      std::string cells;
      bool any = false;
      for (size_t m = 0; m < results.models.size(); ++m) {
        const Point point = gain(results, task, m, count);
        any = any || std::isfinite(point.value);
        cells += "<td>" + plus_minus(point.value, point.half, 1.0, 1) + "</td>";
      }
      const bool partial =
          is_partial(results, key_with_shots(task, count)) || is_partial(results, key_with_shots(task, 0));
      if (any)
        rows += fmt::format("<tr><th>{}{}</th><td>{}</td><td>{}</td>{}</tr>\n", html::escaped(task.set),
                            partial ? kPartial : "", html::escaped(task.convention), count, cells);
    }
  if (rows.empty()) return {};
  std::string head = "<tr><th></th><th>convention</th><th>shots</th>";
  for (const EvaluatedModel& model : results.models) head += "<th>" + html::escaped(model.name) + "</th>";
  return "<h3>Gain from shots by task, points</h3>\n<div class=\"scroll\"><table><thead>" + head +
         "</tr></thead><tbody>\n" + rows + "</tbody></table></div>\n";
}

}  // namespace

std::string to_html(const EvalResults& results, const std::string& title, const std::string& gnuplot) {
  std::string out = models_table(results);
  Charts charts(results);
  const std::vector<int64_t> shots = shots_in(results);
  if (charts.has_compute()) {
    add_accuracy_charts(results, charts);
    add_gain_charts(results, shots, charts);
    out += charts.html(gnuplot);
  }
  for (const EvaluatedModel& model : results.models)
    if (!std::isfinite(model.train_flops))
      out += fmt::format(
          "<p class=\"soft\">{} is not in the charts: its training tokens are not known "
          "(--train-tokens).</p>\n",
          html::escaped(model.name));
  if (std::any_of(results.figures.begin(), results.figures.end(),
                  [](const EvalFigure& figure) { return figure.left_out > 0; }))
    out += "<p class=\"soft\">Figures of a part of the data (--limit, documents passed over) are marked and in no mean.</p>\n";
  out += gain_table(results, shots);
  if (const auto rows = keys(results, EvalFigure::kTask, false); !rows.empty())
    out += "<h2>Tasks</h2>\n" + figures_table(results, rows) +
           "<p class=\"soft\">Percent, ± half the 95 % interval: over items, with several draws of examples over "
           "draws.</p>\n";
  if (const auto rows = keys(results, EvalFigure::kTask, true); !rows.empty())
    out += "<details><summary>Parts of tasks</summary>\n" + figures_table(results, rows) + "</details>\n";
  if (const auto rows = keys(results, EvalFigure::kPerplexity, false); !rows.empty())
    out += "<h2>Perplexity</h2>\n" + figures_table(results, rows) +
           "<p class=\"soft\">Nats per token; n: documents, over which the 95 % interval is taken.</p>\n";
  if (const auto rows = keys(results, EvalFigure::kBias, false); !rows.empty())
    out += "<h2>Bias</h2>\n" + figures_table(results, rows);
  return html::page(title, out);
}

}  // namespace troupe
