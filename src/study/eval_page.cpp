#include "study/eval_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/quantity.h"
#include "eval/tasks/average.h"
#include "study/figures.h"
#include "study/html.h"
#include "study/report.h"

namespace troupe {
namespace {

bool is_accuracy(const EvalFigure& figure) { return std::isfinite(figure.chance); }

// Percent of everything that is a share; nats and perplexities as they are.
double scale_of(const EvalFigure& figure) {
  const bool plain = figure.kind != EvalFigure::kTask || figure.metric == "perplexity";
  return plain && figure.metric != "pct_stereotype" ? 1.0 : 100.0;
}

// One row per key, in the order of the results.
std::vector<std::string> keys(const EvalResults& results, const std::function<bool(const EvalFigure&)>& wanted) {
  std::vector<std::string> list;
  std::set<std::string> known;
  for (const EvalFigure& figure : results.figures)
    if (wanted(figure) && known.insert(figure.key()).second) list.push_back(figure.key());
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
constexpr const char* kPartial = " <span class=\"mark\">(a part of the data)</span>";

std::string items_text(const EvalFigure& figure) {
  return figure.left_out > 0 ? fmt::format("{} of {}", figure.n, figure.n + figure.left_out)
                             : fmt::format("{}", figure.n);
}

std::string models_table(const EvalResults& results) {
  html::Table table("Models", {"model", "family", "parameters", "active", "tokens", "training"});
  std::string notes;
  for (const EvaluatedModel& model : results.models) {
    table.row(html::escaped(model.name))
        .cell(model.family())
        .cell(short_number(static_cast<double>(model.facts.params)))
        .cell(short_number(static_cast<double>(model.facts.active_params)))
        .cell(short_number(model.facts.train_tokens))
        .cell(short_flops(model.facts.train_flops));
    if (model.facts.provenance)
      notes += html::soft_paragraph(html::escaped(fmt::format("{}: evaluated by {}", model.name,
                                                              describe(*model.facts.provenance))));
  }
  return "<h2>Models</h2>\n" + table.html() +
         html::soft_paragraph(
             "Active: parameters that one token passes through. FLOPs of training: forward and backward, nothing "
             "recomputed.") +
         notes;
}

// Rows of figures, a column a model. A row whose models were measured on different data or items says so.
std::string figures_table(const EvalResults& results, const std::string& caption,
                          const std::vector<std::string>& rows) {
  const auto any = [&](const auto& of) {
    return std::any_of(rows.begin(), rows.end(), [&](const std::string& key) { return of(any_of_key(results, key)); });
  };
  const bool shots = any([](const EvalFigure& figure) { return figure.shots > 0; }), chance = any(is_accuracy);
  std::vector<std::string> header = {"", "convention", "metric"};
  if (shots) header.insert(header.end(), {"shots", "draws"});
  header.push_back("n");
  if (chance) header.push_back("chance");
  for (const EvaluatedModel& model : results.models) header.push_back(html::escaped(model.name));
  html::Table table(caption, header);
  for (const std::string& key : rows) {
    const EvalFigure& first = any_of_key(results, key);
    bool same_data = true;
    for (size_t m = 0; m < results.models.size(); ++m)
      if (const EvalFigure* figure = results.find(m, key))
        same_data = same_data && figure->data_checksum == first.data_checksum && figure->n == first.n;
    const std::string name = first.group.empty()               ? first.set
                             : first.kind == EvalFigure::kBias ? first.set + ", " + first.group
                                                               : first.group;
    table.row(html::escaped(name) + (same_data ? "" : " <span class=\"mark\">(different data)</span>") +
              (is_partial(results, key) ? kPartial : ""))
        .cell(html::escaped(first.convention))
        .cell(html::escaped(first.metric));
    if (shots) table.cell(fmt::format("{}", first.shots)).cell(fmt::format("{}", first.draws));
    table.cell(items_text(first));
    if (chance) table.cell(is_accuracy(first) ? number_text(100.0 * first.chance, 1) : "–");
    for (size_t m = 0; m < results.models.size(); ++m) {
      const EvalFigure* figure = results.find(m, key);
      const double scale = figure ? scale_of(*figure) : 1.0;
      table.cell(figure ? interval_text(scale * figure->value, scale * figure->half_interval, scale == 100.0 ? 1 : 3)
                        : "–");
    }
  }
  return table.html();
}

// Texts as results that can be compared by documents: those scored on the same ids.
std::string differences_html(const EvalResults& results, const std::vector<std::string>& rows) {
  std::vector<ModelResult> models;
  for (size_t m = 0; m < results.models.size(); ++m) {
    ModelResult& model = models.emplace_back(ModelResult{.name = results.models[m].name});
    for (const std::string& key : rows)
      if (const EvalFigure *figure = results.find(m, key), *first = results.find(0, key);
          figure && first && figure->data_checksum == first->data_checksum)
        model.domains.push_back({.name = figure->set + " (" + figure->convention + ")",
                                 .documents = figure->documents,
                                 .load_LE = {}});
  }
  const std::vector<Comparison> comparisons = compare_to_first(models);
  if (models.size() < 2) return {};
  if (comparisons.empty())
    return html::soft_paragraph(
        "No differences by document: the models were not scored on the same ids, or the results are of a version that "
        "does not keep scores by document.");
  html::Table table("Differences by document", {"text", "model", "documents", "nats per token", "verdict"});
  for (const Comparison& c : comparisons) {
    const Verdict verdict = c.difference.verdict();
    table.row(html::escaped(c.domain.name))
        .cell(html::escaped(c.model + " − " + c.baseline))
        .cell(fmt::format("{}", c.difference.documents))
        .cell(paired_text(c.difference), html::css_of(verdict))
        .cell(std::string(name_of_enum(verdict)));
  }
  return "<h3>Differences on the same documents</h3>\n" + table.html() +
         html::soft_paragraph("Below 0 the model predicts better. " + html::escaped(kPairedNote));
}

// Models of one family, those of known compute, by compute.
struct Family {
  std::string name;
  std::vector<size_t> models;
};

std::vector<Family> families(const EvalResults& results) {
  std::map<std::pair<int64_t, std::string>, std::vector<size_t>> found;  // dense first
  for (size_t m = 0; m < results.models.size(); ++m)
    if (std::isfinite(results.models[m].facts.train_flops))
      found[{results.models[m].facts.experts, results.models[m].family()}].push_back(m);
  std::vector<Family> list;
  for (auto& [key, models] : found) {
    std::sort(models.begin(), models.end(), [&](size_t a, size_t b) {
      return results.models[a].facts.train_flops < results.models[b].facts.train_flops;
    });
    list.push_back({key.second, std::move(models)});
  }
  return list;
}

// A value of a model with half its 95 % interval; NaN where there is none.
struct Point {
  double value = NAN, half = NAN;
};

// Charts over compute, whose lines are the families (each once per label).
class Charts {
 public:
  explicit Charts(const EvalResults& results) : results_(results), families_(families(results)) {
    double most = 0.0;
    for (const EvaluatedModel& model : results.models)
      if (std::isfinite(model.facts.train_flops)) most = std::max(most, model.facts.train_flops);
    unit_ = flops_unit(most);
  }
  bool has_compute() const { return !families_.empty(); }

  void section(const std::string& heading, const std::vector<std::string>& labels = {""}) {
    std::vector<std::string> names;
    for (const std::string& label : labels)
      for (const Family& family : families_) names.push_back(label.empty() ? family.name : family.name + ", " + label);
    figures_.section(heading, names);
  }
  // `value(model, label)` over compute. `title` is text, `caption` HTML.
  template <class Value>
  void add(const std::string& title, const std::string& caption, const char* y_label, double level, size_t labels,
           const Value& value) {
    Chart chart{.title = title, .x_label = "training " + unit_.name, .y_label = y_label, .series = {}};
    chart.log_x = true, chart.level = level;
    for (size_t label = 0; label < labels; ++label)
      for (const Family& family : families_) {
        Series series{.x = {}, .y = {}, .error = {}, .color = chart.series.size()};
        for (const size_t model : family.models) {
          const Point point = value(model, label);
          series.x.push_back(results_.models[model].facts.train_flops / unit_.size);
          series.y.push_back(point.value), series.error.push_back(point.half);
        }
        chart.series.push_back(std::move(series));
      }
    figures_.add(std::move(chart), caption);
  }

  std::string html(const std::string& gnuplot) const { return figures_.html(gnuplot, "", ""); }

 private:
  const EvalResults& results_;
  std::vector<Family> families_;
  Unit unit_;
  Figures figures_;
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
    if (is_study_task(figure.set) &&
        figure.convention == "paper")
      six.push_back(figure);
  }
  return six.size() == kStudyTasks ? six : common;
}

std::string names_of(const std::vector<EvalFigure>& tasks) {
  std::string out;
  for (const EvalFigure& task : tasks) out += (out.empty() ? "" : ", ") + task.set + " (" + task.convention + ")";
  return html::escaped(out);
}

// Mean of `value(task, model)` over tasks, errors of the tasks being independent.
template <class Value>
Point mean_over(const std::vector<EvalFigure>& tasks, const Value& value) {
  std::vector<Estimate> estimates;
  for (const EvalFigure& task : tasks) {
    const Point point = value(task);
    estimates.push_back({point.value, point.half});
  }
  const Estimate mean = mean_of_independent(estimates);
  return {mean.value, mean.standard_error};
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
    charts.add("Zero-shot accuracy",
               fmt::format(", {}{}. Bars: 95 % intervals over items, points at one compute set apart; dotted: chance.",
                           tasks.size() > 1 ? fmt::format("mean of {} tasks: ", tasks.size()) : "", names_of(tasks)),
               "percent", mean_chance(tasks), 1, [&](size_t model, size_t) {
                 return mean_over(tasks, [&](const EvalFigure& task) { return accuracy(task, model); });
               });
  charts.section("<h3>Each task, zero-shot</h3>\n");
  for (const EvalFigure& task : main_accuracies(results))
    if (anyone_has(results, key_with_shots(task, 0)))
      charts.add(task.set,
                 fmt::format(" ({}){}", html::escaped(task.convention),
                             is_partial(results, key_with_shots(task, 0)) ? kPartial : ""),
                 "percent", 100.0 * task.chance, 1, [&](size_t model, size_t) { return accuracy(task, model); });
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
  std::string caption = ", mean over tasks. Bars: 95 % t-intervals over draws of examples.";
  for (const int64_t count : shots) {
    std::vector<EvalFigure> both;
    for (const EvalFigure& task : average_tasks(results, count))
      if (std::isfinite(gain(results, task, 0, count).value) && !is_partial(results, key_with_shots(task, 0)))
        both.push_back(task);
    if (both.empty()) continue;
    names.push_back(counted(count, "shot"));
    caption += fmt::format(" {}: {}.", counted(count, "shot"), names_of(both));
    labels.push_back({count, std::move(both)});
  }
  if (labels.empty()) return;
  charts.section("<h2>Gain from shots</h2>\n", names);
  charts.add(
      "Accuracy with examples minus without", caption, "points", 0.0, labels.size(), [&](size_t model, size_t label) {
        return mean_over(labels[label].tasks,
                         [&](const EvalFigure& task) { return gain(results, task, model, labels[label].shots); });
      });
}

std::string gain_table(const EvalResults& results, const std::vector<int64_t>& shots) {
  std::vector<std::string> header = {"", "convention", "shots"};
  for (const EvaluatedModel& model : results.models) header.push_back(html::escaped(model.name));
  html::Table table("Gain from shots by task, points", header);
  for (const EvalFigure& task : main_accuracies(results))
    for (const int64_t count : shots) {
      std::vector<Point> points;
      for (size_t m = 0; m < results.models.size(); ++m) points.push_back(gain(results, task, m, count));
      if (std::none_of(points.begin(), points.end(), [](const Point& p) { return std::isfinite(p.value); })) continue;
      const bool partial =
          is_partial(results, key_with_shots(task, count)) || is_partial(results, key_with_shots(task, 0));
      table.row(html::escaped(task.set) + (partial ? kPartial : ""))
          .cell(html::escaped(task.convention))
          .cell(fmt::format("{}", count));
      for (const Point& point : points) table.cell(interval_text(point.value, point.half, 1));
    }
  return table.empty() ? "" : "<h3>Gain from shots by task, points</h3>\n" + table.html();
}

std::string tasks_html(const EvalResults& results) {
  const auto rows = [&](bool groups, bool shots) {
    return keys(results, [=](const EvalFigure& f) {
      return f.kind == EvalFigure::kTask && groups == !f.group.empty() && shots == (f.shots > 0);
    });
  };
  std::string out;
  if (const auto zero = rows(false, false); !zero.empty())
    out += "<h2>Tasks, zero-shot</h2>\n" + figures_table(results, "Tasks, zero-shot", zero) +
           html::soft_paragraph("Percent (perplexities as they are), ± half the 95 % interval over items.");
  if (const auto few = rows(false, true); !few.empty())
    out +=
        "<h2>Tasks with examples</h2>\n" + figures_table(results, "Tasks with examples", few) +
        html::soft_paragraph(
            "Percent, mean over draws of examples, ± half the 95 % interval over draws (t; with one draw over items): "
            "not the error of the zero-shot table, which is over items.");
  std::string parts;
  for (const bool shots : {false, true})
    if (const auto of = rows(true, shots); !of.empty())
      parts += figures_table(results, shots ? "Parts of tasks with examples" : "Parts of tasks, zero-shot", of);
  return parts.empty() ? out : out + "<details><summary>Parts of tasks</summary>\n" + parts + "</details>\n";
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
    if (!std::isfinite(model.facts.train_flops))
      out += html::soft_paragraph(html::escaped(model.name) +
                                  " is not in the charts: its training tokens are not known (--train-tokens).");
  if (std::any_of(results.figures.begin(), results.figures.end(),
                  [](const EvalFigure& figure) { return figure.left_out > 0; }))
    out += html::soft_paragraph(
        "Figures of a part of the data (--limit, documents passed over) are marked and in no mean.");
  out += gain_table(results, shots) + tasks_html(results);
  const auto of_kind = [&](EvalFigure::Kind kind) {
    return keys(results, [=](const EvalFigure& figure) { return figure.kind == kind; });
  };
  if (const auto rows = of_kind(EvalFigure::kPerplexity); !rows.empty())
    out += "<h2>Perplexity</h2>\n" + figures_table(results, "Nats per token", rows) +
           html::soft_paragraph("Nats per token, ± half the 95 % interval, by t over n documents.") +
           differences_html(results, rows);
  if (const auto rows = of_kind(EvalFigure::kBias); !rows.empty())
    out +=
        "<h2>Bias</h2>\n" + figures_table(results, "Bias", rows) +
        html::soft_paragraph(
            "lms, language modelling score: how often a related candidate is more probable than an unrelated one, 100 "
            "is best. ss and stereotype_score, pct_stereotype: how often the stereotypical one is preferred, 50 is no "
            "preference. icat: lms · min(ss, 100 − ss) / 50, 100 is best. neutral: ties. likelihood_diff: mean "
            "distance of a pair's log-probabilities, nats. ± half the 95 % interval, over terms (stereoset) or pairs "
            "(crows_pairs).");
  return html::page(title, out);
}

}  // namespace troupe
