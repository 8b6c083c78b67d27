#include "study/grid/grid_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <set>

#include "base/quantity.h"
#include "eval/statistics.h"
#include "io/provenance.h"
#include "study/grid/frontier.h"

namespace troupe {
namespace {

using TextRows = std::vector<std::vector<std::string>>;

std::string factor_text(const FactorRow* row) {
  if (!row) return number_text(kNan, 0);
  if (!row->has_interval()) return number_text(row->factor, 2) + " (open)";
  return fmt::format("{} ({} to {})", number_text(row->factor, 2), number_text(row->low, 2), number_text(row->high, 2));
}

class GridReporter {
 public:
  GridReporter(const GridResults& results, const Factors& factors, const Factors& by_tasks, int64_t unfinished)
      : results_(results),
        factors_(factors),
        by_tasks_(by_tasks),
        unfinished_(unfinished),
        texts_(texts_of(results)),
        points_(mean_points(results)),
        tasks_(tasks_as_texts(results)),
        task_points_(mean_points(tasks_)) {
    for (const GridFamily& family : results.grid.families) families_.push_back(family.name);
  }

  std::vector<ReportSection> sections() const {
    std::vector<ReportSection> all = {answer(),
                                      how_sure(),
                                      factors_by_budget(),
                                      losses(),
                                      losses_by_domain(),
                                      factors_by_domain(),
                                      other_costs(),
                                      side_by_side(),
                                      fixed_tokens(),
                                      tasks(),
                                      factors_by_task(),
                                      models(),
                                      all_losses(),
                                      fits(),
                                      rates(),
                                      made_by()};
    std::erase_if(all, [](const ReportSection& s) { return s.text.empty() && s.table.size() < 2 && s.charts.empty(); });
    return all;
  }

 private:
  const std::string& baseline() const { return families_.front(); }
  const GridModel& model_of(const MeanPoint& mean) const { return results_.grid.models[point_of(mean).model]; }
  const GridPoint& point_of(const MeanPoint& mean) const { return results_.grid.points[mean.point]; }

  // Words for a mean or a domain.
  std::string spoken(const std::string& text) const {
    const auto count = [&](bool held_out) {
      return std::count_if(results_.texts.begin(), results_.texts.end(),
                           [&](const StudyDomain& d) { return d.held_out == held_out; });
    };
    if (text == kMeanIn) return fmt::format("in domain (mean of {})", counted(count(false), "domain"));
    if (text == kMeanOut) return fmt::format("out of domain (mean of {})", counted(count(true), "domain"));
    return text;
  }

  std::string at_start(const std::string& text) const {
    std::string words = spoken(text);
    words.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(words.front())));  // of ours: ASCII
    return words;
  }

  // What the interval leaves open.
  static std::string verdict(const FactorRow& row) {
    if (!row.has_interval()) return "not sure";
    if (row.low > 1.0) return "saves compute";
    return row.high < 1.0 ? "costs more compute" : "no clear difference";
  }

  std::string sentence(const std::string& family, const std::string& text) const {
    const FactorRow* flops = factors_.quoted(family, text, "train_flops");
    if (!flops) return {};
    std::string line =
        fmt::format("{}, {}: {}. Factor {} by FLOPs", at_start(text), family, verdict(*flops), factor_text(flops));
    if (const FactorRow* seconds = factors_.quoted(family, text, "seconds"))
      line += fmt::format(", by seconds {}", factor_text(seconds));
    if (const FactorRow* memory = factors_.quoted(family, text, "memory_bytes"))
      line += fmt::format(", by memory of training {}", factor_text(memory));
    return line + ".";
  }

  // Families without a factor on a text, by the reason.
  std::vector<std::string> without_factor(const std::string& text) const {
    const auto at = std::find(texts_.names.begin(), texts_.names.end(), text);
    const auto t = static_cast<size_t>(at - texts_.names.begin());
    const auto losses_of = [&](const std::string& family) {
      std::vector<double> losses;
      for (const MeanPoint& mean : points_)
        if (model_of(mean).family == family) losses.push_back(mean.nll[t]);
      return losses;
    };
    const std::vector<double> base = losses_of(baseline());
    std::vector<std::string> none, better, outside;
    for (const std::string& family : others()) {
      if (factors_.quoted(family, text, "train_flops")) continue;
      const std::vector<double> own = losses_of(family);
      if (own.empty())
        none.push_back(family);
      else if (!base.empty() && *std::max_element(own.begin(), own.end()) < *std::min_element(base.begin(), base.end()))
        better.push_back(family);
      else
        outside.push_back(family);
    }
    std::vector<std::string> lines;
    const auto say = [&](const std::vector<std::string>& families, const std::string& why) {
      if (!families.empty())
        lines.push_back(fmt::format("{}, no factor: {} ({}).", at_start(text), fmt::join(families, ", "), why));
    };
    say(better, "every loss is below all that " + baseline() + " reached: it would need a larger run to say how much");
    say(outside, "no loss lies within what " + baseline() + " reached");
    say(none, "no run is finished");
    return lines;
  }

  // What is still to come.
  std::string so_far() const {
    return fmt::format("So far {} of {} are finished: all of this may change.", results_.finals.size(),
                       counted(static_cast<int64_t>(results_.finals.size()) + unfinished_, "run"));
  }

  ReportSection answer() const {
    ReportSection section{.title = "What came out", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.text.push_back(fmt::format(
        "Asked: how many times less training compute, time and memory does each family need than {0} to reach the same "
        "loss? The factor is the cost of {0} over that of the family: 2 means half the cost, below 1 the family costs "
        "more. In brackets stand 95 % intervals; \"open\" is one that goes beyond what {0} reached. Quoted are the "
        "largest runs whose loss {0} reached, too.",
        baseline()));
    if (unfinished_ > 0) section.text.push_back(so_far());
    for (const char* mean : {kMeanIn, kMeanOut}) {
      if (std::find(texts_.names.begin(), texts_.names.end(), mean) == texts_.names.end()) continue;
      for (size_t f = 1; f < families_.size(); ++f)
        if (std::string line = sentence(families_[f], mean); !line.empty()) section.text.push_back(std::move(line));
      for (std::string& line : without_factor(mean)) section.text.push_back(std::move(line));
    }
    if (families_.size() == 1) section.text.push_back("There is one family: nothing to compare it with.");
    section.text.push_back(
        "Artetxe et al. (2021) found 8 to 16 times in domain at the small end, about 4 times at modest budgets, and 2 "
        "to 4 times out of domain, with 512 experts and models from 125M active parameters.");
    section.table = quoted_factors(results_, factors_);
    return section;
  }

  ReportSection how_sure() const {
    ReportSection section{.title = "How sure", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.text.push_back(
        fmt::format("Intervals hold 95 % of {} replicates: other documents of each domain, and other seeds where a "
                    "family has points "
                    "with {} seeds and more. They do not hold other learning rates, data or recipes.",
                    kReplicates, kSeedsForResiduals));
    std::vector<std::string> one_seed;
    for (const SeedResiduals& own : factors_.residuals) {
      if (own.draws() == 0)
        one_seed.push_back(own.family);
      else
        section.text.push_back(
            fmt::format("{}: seeds of one point differ from their mean by {} nats in domain (root mean square of {}).",
                        own.family, number_text(own.deviation(results_.texts.size()), 4), own.draws()));
    }
    if (!one_seed.empty())
      section.text.push_back(fmt::format("No point with {} seeds, and so intervals of documents alone: {}.",
                                         kSeedsForResiduals, fmt::join(one_seed, ", ")));
    double most = 0.0;
    size_t open = 0;
    for (const FactorRow& row : factors_.rows) {
      if (row.form != "frontier") continue;
      most = std::max(most, row.missing), open += !row.has_interval();
    }
    if (most > 0.0)
      section.text.push_back(fmt::format(
          "Replicates whose loss left the range that {0} reached have no factor and are missing: {1} at "
          "most. {2} have more than 5 % of them missing: no interval is quoted for these (\"open\"), as the "
          "rest lie on one side. A larger run of {0} would close them.",
          baseline(), percent_text(most), counted(static_cast<int64_t>(open), "factor")));
    if (unfinished_ > 0)
      section.text.push_back(fmt::format("{} of the grid are not finished.", counted(unfinished_, "run")));
    for (const FinishedRun& run : results_.finals)
      if (run.record.status == RunStatus::kDiverged)
        section.text.push_back(
            fmt::format("{} diverged and counts for nothing: {}.", name(results_.grid, run.run), run.record.error));
    for (const GridResults::Trial& trial : results_.trials)
      if (trial.chosen && !std::isfinite(trial.nll))
        section.text.push_back(
            fmt::format("{}: every trial of a learning rate diverged, so that its other runs were left out.",
                        results_.grid.models[results_.grid.points[trial.run.point].model].name()));
    std::string at_an_end;
    for (const GridResults::Trial& trial : results_.trials)
      if (trial.chosen && !trial.inside && std::isfinite(trial.nll))
        at_an_end +=
            fmt::format("{}{} ({})", at_an_end.empty() ? "" : ", ",
                        results_.grid.models[results_.grid.points[trial.run.point].model].name(), trial.run.lr);
    if (!at_an_end.empty())
      section.text.push_back(fmt::format(
          "The best learning rate is the last that was tried, so that a better one may lie beyond it, of {}.",
          at_an_end));
    if (results_.speeds.disturbed())
      section.text.push_back(fmt::format(
          "Speeds were measured while other programs ran (load {:.1f}): seconds are not those of an idle machine.",
          results_.speeds.load));
    return section;
  }

  // Lines of families over a cost: the frontier, and beside it the points that are not on it.
  Chart loss_chart(size_t text, const std::string& title) const {
    double most = 1.0;
    for (const MeanPoint& mean : points_) most = std::max(most, results_.grid.train_flops(point_of(mean)));
    const Unit unit = flops_unit(most);
    Chart chart{
        .title = title, .x_label = "training " + unit.name, .y_label = "nats per token", .series = {}, .log_x = true};
    for (size_t f = 0; f < families_.size(); ++f) {
      std::vector<CostPoint> points;
      for (size_t p = 0; p < points_.size(); ++p)
        if (model_of(points_[p]).family == families_[f])
          points.push_back({results_.grid.train_flops(point_of(points_[p])) / unit.size, points_[p].nll[text], p});
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

  ReportSection losses() const {
    ReportSection section{.title = "Loss over compute", .text = {}, .table = {}, .lines = families_, .charts = {}};
    if (points_.empty()) return section;
    section.text = {
        "Lines join the points that no cheaper one of the family beats; the others stand alone. Seeds are averaged."};
    for (size_t text = results_.texts.size(); text < texts_.names.size(); ++text)
      section.charts.push_back(loss_chart(text, spoken(texts_.names[text])));
    return section;
  }

  ReportSection losses_by_domain() const {
    ReportSection section{
        .title = "Loss over compute by domain", .text = {}, .table = {}, .lines = families_, .charts = {}};
    if (points_.empty()) return section;
    for (size_t text = 0; text < results_.texts.size(); ++text)
      section.charts.push_back(
          loss_chart(text, texts_.names[text] + (texts_.held_out[text] ? ", never trained on" : "")));
    return section;
  }

  // A factor and its interval; a gap without a factor, and no bar without an interval.
  static void push_factor(Series& series, const FactorRow* row) {
    series.y.push_back(row ? row->factor : kNan);
    series.low.push_back(row && row->has_interval() ? row->low : kNan);
    series.high.push_back(row && row->has_interval() ? row->high : kNan);
  }

  Chart factor_chart(const std::string& text, const std::string& measure, const std::string& title) const {
    double most = 1.0;
    for (const FactorRow& row : factors_.rows)
      if (row.form == "frontier" && row.measure == "train_flops") most = std::max(most, row.family_cost);
    const Unit unit = flops_unit(most);
    Chart chart{.title = title,
                .x_label = "training " + unit.name + " of the family",
                .y_label = "factor",
                .series = {},
                .log_x = true,
                .level = 1.0};
    for (size_t f = 1; f < families_.size(); ++f) {
      Series series{.x = {}, .y = {}, .error = {}, .color = f};
      for (const FactorRow& row : factors_.rows)
        if (row.form == "frontier" && row.measure == measure && row.domain == text && row.family == families_[f])
          series.x.push_back(row.family_cost / unit.size), push_factor(series, &row);
      chart.series.push_back(std::move(series));
    }
    return chart;
  }

  std::vector<std::string> others() const { return {families_.begin() + 1, families_.end()}; }

  ReportSection factors_by_budget() const {
    ReportSection section{.title = "Factors over compute", .text = {}, .table = {}, .lines = families_, .charts = {}};
    if (factors_.rows.empty()) return section;
    section.text = {
        "How the factor moves with the budget. Bars are 95 % intervals, where one can be told; the dotted line is no "
        "gain."};
    for (const char* mean : {kMeanIn, kMeanOut})
      if (std::find(texts_.names.begin(), texts_.names.end(), mean) != texts_.names.end())
        section.charts.push_back(factor_chart(mean, "train_flops", spoken(mean)));
    return section;
  }

  ReportSection factors_by_domain() const {
    ReportSection section{.title = "Factors by domain", .text = {}, .table = {}, .lines = families_, .charts = {}};
    if (factors_.rows.empty()) return section;
    section.text = {
        "By FLOPs, at the largest run of each family whose loss the baseline reached, with 95 % intervals."};
    std::vector<std::string> header = {"domain"};
    for (const std::string& family : others()) header.push_back(family);
    section.table = {header};
    Chart chart{.title = "By rows of the table",
                .x_label = "row of the table",
                .y_label = "factor",
                .series = {},
                .rows = static_cast<int64_t>(texts_.names.size()),
                .level = 1.0};
    for (size_t f = 1; f < families_.size(); ++f) chart.series.push_back({.x = {}, .y = {}, .error = {}, .color = f});
    for (size_t text = 0; text < texts_.names.size(); ++text) {
      const bool mean = text >= results_.texts.size();
      std::vector<std::string> row = {
          fmt::format("{}. {}", text + 1,
                      mean ? spoken(texts_.names[text]) : texts_.names[text] + (texts_.held_out[text] ? " *" : ""))};
      for (size_t f = 1; f < families_.size(); ++f) {
        const FactorRow* quoted = factors_.quoted(families_[f], texts_.names[text], "train_flops");
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

  ReportSection other_costs() const {
    ReportSection section{
        .title = "Factors in seconds and in memory", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"family", "text", "FLOPs", "seconds", "memory"}};
    for (const std::string& family : others())
      for (size_t text = results_.texts.size(); text < texts_.names.size(); ++text) {
        std::vector<std::string> row = {family, spoken(texts_.names[text])};
        for (const char* measure : {"train_flops", "seconds", "memory_bytes"})
          row.push_back(factor_text(factors_.quoted(family, texts_.names[text], measure)));
        section.table.push_back(row);
      }
    if (section.table.size() > 1)
      section.text = {
          "Seconds are tokens over the speed that was measured once for every family and size; memory is that "
          "of training. Each measure has frontiers of its own, so the runs quoted may differ."};
    return section;
  }

  // How the number, width and place of experts count: families that have runs of one size and budget.
  ReportSection side_by_side() const {
    ReportSection section{.title = "Families side by side", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"size and tokens", "family", "experts", "top-k", "MoE layers", "expert width", "FLOPs"}};
    for (size_t t = results_.texts.size(); t < texts_.names.size(); ++t)
      section.table.front().push_back(texts_.held_out[t] ? "out of domain" : "in domain");
    std::map<std::string, std::vector<const MeanPoint*>> groups;
    for (const MeanPoint& mean : points_)
      groups[fmt::format("{}, {}", model_of(mean).size, short_number(static_cast<double>(point_of(mean).budget)))]
          .push_back(&mean);
    for (const auto& [group, points] : groups) {
      if (points.size() < 2) continue;
      for (const MeanPoint* mean : points) {
        const ModelConfig& model = model_of(*mean).config.model;
        const bool moe = model.num_moe_layers() > 0;
        const auto of_moe = [&](int64_t value) { return moe ? std::to_string(value) : std::string("–"); };
        section.table.push_back({group, model_of(*mean).family, of_moe(model.moe.num_experts), of_moe(model.moe.top_k),
                                 moe ? fmt::format("{} of {}", model.num_moe_layers(), model.num_layers) : "–",
                                 of_moe(model.expert_d_ff()), short_flops(results_.grid.train_flops(point_of(*mean)))});
        for (size_t t = results_.texts.size(); t < texts_.names.size(); ++t)
          section.table.back().push_back(number_text(mean->nll[t], 4));
      }
    }
    if (section.table.size() > 1)
      section.text = {
          "Losses in nats per token at one size and number of tokens, seeds averaged: what more, finer and more "
          "frequent experts change. FLOPs differ by the second expert of a token and by the router."};
    return section;
  }

  ReportSection fixed_tokens() const {
    ReportSection section{
        .title = "Factors at a fixed number of tokens", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"family", "run", "text", "nats per token", "factor"}};
    for (const FactorRow& row : factors_.rows)
      if (row.form == "fixed_tokens" && row.measure == "train_flops" &&
          (row.domain == kMeanIn || row.domain == kMeanOut))
        section.table.push_back(
            {row.family, row.family_below, spoken(row.domain), number_text(row.target, 4), factor_text(&row)});
    if (section.table.size() > 1)
      section.text = {
          "The form of Artetxe et al. (2021): sizes at one number of tokens, joined; by FLOPs. It leaves out that a "
          "family may reach a loss cheaper with another number of tokens."};
    return section;
  }

  // The tasks, and their mean if there are several: as texts of task_points_.
  std::vector<std::string> task_names() const {
    std::vector<std::string> names = tasks_.domains;
    if (names.size() > 1) names.emplace_back("mean of tasks");
    return names;
  }

  // Better than blind choices at the largest run: beyond 95 % of its items' chance.
  std::string against_chance(const TaskFacts& task) const {
    const FinishedRun* largest = nullptr;
    for (const FinishedRun& run : results_.finals)
      if (find_scores(run.record.tasks, task) &&
          (!largest || results_.grid.train_flops(results_.grid.points[run.run.point]) >
                           results_.grid.train_flops(results_.grid.points[largest->run.point])))
        largest = &run;
    std::string line = fmt::format("{}: {}{}", task.task, counted(task.items, "item"),
                                   task.left_out ? fmt::format(" ({} left out)", task.left_out) : "");
    if (!std::isfinite(task.chance) || !largest) return line + ".";
    const double share = find_scores(largest->record.tasks, task)->accuracy();
    const double half = kNormal95 * std::sqrt(task.chance * (1 - task.chance) / static_cast<double>(task.items));
    return line +
           fmt::format("; blind choices are right in {:.1f} % of them, the largest run in {:.1f} %{}.",
                       100 * task.chance, 100 * share,
                       share > task.chance + half ? "" : ": no more than chance, so that its factors say nothing");
  }

  ReportSection tasks() const {
    ReportSection section{.title = "Tasks", .text = {}, .table = {}, .lines = families_, .charts = {}};
    if (results_.tasks.empty()) return section;
    section.text.push_back("Share of items that are answered right, without examples in front, in percent.");
    for (const TaskFacts& task : results_.tasks) section.text.push_back(against_chance(task));
    if (const int64_t lack = without_tasks(results_); lack > 0)
      section.text.push_back(
          fmt::format("{} measured before tasks were asked for, and without scores of them.", counted(lack, "run")));
    if (task_points_.empty()) return section;
    const std::vector<std::string> names = task_names();
    std::vector<std::string> header = {"point", "seeds", "FLOPs"};
    header.insert(header.end(), names.begin(), names.end());
    section.table = {header};
    double most = 1.0;
    for (const MeanPoint& mean : task_points_) {
      most = std::max(most, results_.grid.train_flops(point_of(mean)));
      section.table.push_back({results_.grid.name(point_of(mean)), std::to_string(mean.seeds),
                               short_flops(results_.grid.train_flops(point_of(mean)))});
      for (size_t t = 0; t < names.size(); ++t)
        section.table.back().push_back(number_text(100.0 * (1.0 - mean.nll[t]), 1));
    }
    const Unit unit = flops_unit(most);
    for (size_t t = 0; t < names.size(); ++t) {
      Chart chart{
          .title = names[t], .x_label = "training " + unit.name, .y_label = "right, %", .series = {}, .log_x = true};
      for (size_t f = 0; f < families_.size(); ++f) {
        Series series{.x = {}, .y = {}, .error = {}, .color = f};
        std::vector<CostPoint> points;
        for (const MeanPoint& mean : task_points_)
          if (model_of(mean).family == families_[f])
            points.push_back({results_.grid.train_flops(point_of(mean)) / unit.size, 100.0 * (1.0 - mean.nll[t]), 0});
        for (const CostPoint& point : points)  // alone: accuracies of small models go up and down
          series.x.insert(series.x.end(), {kNan, point.cost}), series.y.insert(series.y.end(), {kNan, point.nll});
        chart.series.push_back(std::move(series));
      }
      section.charts.push_back(std::move(chart));
    }
    return section;
  }

  ReportSection factors_by_task() const {
    ReportSection section{.title = "Factors by tasks", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"family", "task", "right, %", "FLOPs", "seconds", "memory"}};
    const std::vector<std::string> names = task_names();
    for (const std::string& family : others())
      for (size_t t = 0; t < names.size(); ++t) {
        const std::string text = t < tasks_.domains.size() ? names[t] : kMeanIn;
        const FactorRow* flops = by_tasks_.quoted(family, text, "train_flops");
        if (!flops) continue;
        section.table.push_back({family, names[t], number_text(100.0 * (1.0 - flops->target), 1), factor_text(flops),
                                 factor_text(by_tasks_.quoted(family, text, "seconds")),
                                 factor_text(by_tasks_.quoted(family, text, "memory_bytes"))});
      }
    if (section.table.size() > 1)
      section.text = {
          "How many times less each family needs to answer as many items right: the same factor, with the share of "
          "wrong "
          "answers in the place of the loss and items in that of documents. The accuracy is that of the factor by "
          "FLOPs."};
    return section;
  }

  ReportSection models() const {
    ReportSection section{.title = "Models", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"family/size", "layers", "width", "experts", "parameters", "active", "FLOPs a token", "tokens/s",
                      "memory", "learning rate"}};
    for (size_t m = 0; m < results_.grid.models.size(); ++m) {
      const GridModel& model = results_.grid.models[m];
      std::string rate = number_text(kNan, 0);
      for (const FinishedRun& run : results_.finals)
        if (results_.grid.points[run.run.point].model == m) rate = fmt::format("{}", run.run.lr);
      const double speed = results_.speeds.of(model);
      section.table.push_back(
          {model.name(), std::to_string(model.config.model.num_layers), std::to_string(model.config.model.d_model),
           model.config.model.num_moe_layers() > 0 ? std::to_string(model.config.model.moe.num_experts) : "0",
           short_number(static_cast<double>(model.params())), short_number(static_cast<double>(model.active_params())),
           short_number(model.flops_per_token()), short_number(speed),
           short_bytes(static_cast<double>(model.memory_bytes())), rate});
    }
    const GridModel& first = results_.grid.models.front();
    section.text = {
        fmt::format("The same for all: context {}, vocabulary {}, {} tokens an update, data and their order.",
                    first.config.model.context, first.config.model.vocab_size, first.update_tokens())};
    return section;
  }

  ReportSection all_losses() const {
    ReportSection section{.title = "All points", .text = {}, .table = {}, .lines = {}, .charts = {}};
    std::vector<std::string> header = {"point", "seeds", "epochs", "FLOPs"};
    for (const std::string& text : texts_.names) header.push_back(text);
    section.table = {header};
    for (const MeanPoint& mean : points_) {
      std::vector<std::string> row = {results_.grid.name(point_of(mean)), std::to_string(mean.seeds),
                                      number_text(results_.epochs[mean.point], 2),
                                      short_flops(results_.grid.train_flops(point_of(mean)))};
      for (const double nll : mean.nll) row.push_back(number_text(nll, 4));
      section.table.push_back(row);
    }
    if (section.table.size() > 1) section.text = {"Nats per token, seeds averaged."};
    return section;
  }

  ReportSection fits() const {
    ReportSection section{.title = "Power laws", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"family", "text", "points", "exponent", "residual, nats", "largest"}};
    for (const FitRow& fit : factors_.fits)
      if (fit.domain == kMeanIn || fit.domain == kMeanOut)
        section.table.push_back({fit.family, spoken(fit.domain), std::to_string(fit.points),
                                 number_text(fit.exponent, 4), number_text(fit.residual, 4),
                                 number_text(fit.worst, 4)});
    if (section.table.size() > 1)
      section.text = {
          "nll = coefficient x FLOPs ^ exponent through each frontier, by least squares in logarithms. It "
          "describes what was measured; no factor uses it."};
    return section;
  }

  ReportSection rates() const {
    ReportSection section{.title = "Learning rates", .text = {}, .table = {}, .lines = {}, .charts = {}};
    section.table = {{"family/size", "rate", "validation, nats", ""}};
    for (const GridResults::Trial& trial : results_.trials)
      section.table.push_back(
          {results_.grid.models[results_.grid.points[trial.run.point].model].name(), fmt::format("{}", trial.run.lr),
           std::isfinite(trial.nll) ? number_text(trial.nll, 4) : "diverged",
           trial.chosen && std::isfinite(trial.nll) ? (trial.inside ? "chosen" : "chosen, at an end") : ""});
    if (section.table.size() > 1)
      section.text = {"As many trials for every family and size, at the smallest budget, by factors of 2."};
    return section;
  }

  ReportSection made_by() const {
    ReportSection section{.title = "Made by", .text = {}, .table = {}, .lines = {}, .charts = {}};
    std::map<std::string, int64_t> counts;
    for (const FinishedRun& run : results_.finals) {
      nlohmann::json by = run.record.provenance;
      by.erase("date");
      ++counts[describe_provenance(by)];
    }
    for (const auto& [by, count] : counts) section.text.push_back(fmt::format("{}: {}.", counted(count, "run"), by));
    section.text.push_back(
        "Data beside this report: points.csv, trials.csv, documents.csv.zst, factors.csv, fits.csv, "
        "runs.csv (time and energy), routers.csv" +
        std::string(results_.tasks.empty() ? "." : ", tasks.csv, task_items.csv.zst, factors_tasks.csv."));
    return section;
  }

  const GridResults& results_;
  const Factors &factors_, &by_tasks_;
  const int64_t unfinished_;
  const TextNames texts_;
  const std::vector<MeanPoint> points_;
  const GridResults tasks_;  // as texts
  const std::vector<MeanPoint> task_points_;
  std::vector<std::string> families_;
};

}  // namespace

std::vector<ReportSection> grid_report(const GridResults& results, const Factors& factors, const Factors& by_tasks,
                                       int64_t unfinished) {
  return GridReporter(results, factors, by_tasks, unfinished).sections();
}

TextRows quoted_factors(const GridResults& results, const Factors& factors) {
  TextRows rows = {{"family", "text", "nats per token", "FLOPs of it", "of the baseline", "factor"}};
  for (size_t f = 1; f < results.grid.families.size(); ++f)
    for (const char* mean : {kMeanIn, kMeanOut})
      if (const FactorRow* row = factors.quoted(results.grid.families[f].name, mean, "train_flops"))
        rows.push_back({row->family, row->held_out ? "out of domain" : "in domain", number_text(row->target, 4),
                        short_flops(row->family_cost), short_flops(row->baseline_cost), factor_text(row)});
  return rows;
}

}  // namespace troupe
