#include "study/grid/factors.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/threads.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "study/csv.h"
#include "study/grid/frontier.h"

namespace troupe {
namespace {

constexpr const char* kMeasures[] = {"train_flops", "seconds", "memory_bytes"};

double cost_of_point(const GridResults& results, size_t point, const std::string& measure) {
  const GridPoint& at = results.grid.points[point];
  const GridModel& model = results.grid.models[at.model];
  if (measure == "train_flops") return results.grid.train_flops(at);
  if (measure == "seconds") return static_cast<double>(results.grid.tokens(at)) / results.speeds.of(model);
  return static_cast<double>(model.memory_bytes());
}

// The p-quantile, linear between order statistics.
double quantile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return kNan;
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

class FactorMaker {
 public:
  explicit FactorMaker(const GridResults& results)
      : results_(results), texts_(texts_of(results)), points_(mean_points(results)) {
    for (const char* measure : kMeasures)
      for (const MeanPoint& mean : points_) costs_[measure].push_back(cost_of_point(results, mean.point, measure));
    factors_.residuals = seed_residuals(results);
    if (!points_.empty()) replicates_ = make_replicates(results, points_, factors_.residuals);
  }

  Factors make() {
    std::set<int64_t> budgets = {0};
    for (const MeanPoint& mean : points_) budgets.insert(results_.grid.points[mean.point].budget);
    for (size_t text = 0; text < texts_.names.size(); ++text) {
      for (const GridFamily& family : results_.grid.families) fit(text, family.name);
      for (const char* measure : kMeasures)
        for (const int64_t budget : budgets) compare(text, measure, budget);
    }
    return std::move(factors_);
  }

 private:
  const std::string& baseline() const { return results_.grid.families.front().name; }

  // Points of a family, of one budget unless it is 0; index into points_.
  std::vector<size_t> select(const std::string& family, int64_t budget) const {
    std::vector<size_t> selected;
    for (size_t p = 0; p < points_.size(); ++p) {
      const GridPoint& point = results_.grid.points[points_[p].point];
      if (results_.grid.models[point.model].family == family && (budget == 0 || point.budget == budget))
        selected.push_back(p);
    }
    return selected;
  }

  template <class Nll>
  std::vector<CostPoint> frontier(const std::vector<size_t>& selected, const std::string& measure,
                                  const Nll& nll) const {
    std::vector<CostPoint> points;
    for (const size_t p : selected) points.push_back({costs_.at(measure)[p], nll(p), p});
    return frontier_of(std::move(points));
  }

  // All families against the baseline: on their frontiers, or on their sizes at one budget.
  void compare(size_t text, const std::string& measure, int64_t budget) {
    const std::vector<size_t> base = select(baseline(), budget);
    const auto measured = [&](size_t p) { return points_[p].nll[text]; };
    const std::vector<CostPoint> base_frontier = frontier(base, measure, measured);
    std::vector<std::vector<CostPoint>> again(kReplicates);  // the same of each replicate
    if (!base_frontier.empty())
      parallel_for(kReplicates, [&](int64_t r) {
        const std::vector<double>& nll = replicates_[text][static_cast<size_t>(r)];
        again[static_cast<size_t>(r)] = frontier(base, measure, [&](size_t p) { return nll[p]; });
      });
    for (size_t f = 1; f < results_.grid.families.size(); ++f) {
      const std::string& family = results_.grid.families[f].name;
      for (const CostPoint& point : frontier(select(family, budget), measure, measured)) {
        const auto reached = cost_at(base_frontier, point.nll);
        if (!reached) continue;
        std::vector<double> replicated;
        for (size_t r = 0; r < kReplicates; ++r)
          if (const auto cost = cost_at(again[r], replicates_[text][r][point.index]))
            replicated.push_back(cost->cost / point.cost);
        std::sort(replicated.begin(), replicated.end());
        factors_.rows.push_back(
            {.form = budget == 0 ? "frontier" : "fixed_tokens",
             .domain = texts_.names[text],
             .held_out = texts_.held_out[text],
             .family = family,
             .baseline = baseline(),
             .measure = measure,
             .target = point.nll,
             .baseline_cost = reached->cost,
             .family_cost = point.cost,
             .factor = reached->cost / point.cost,
             .low = quantile(replicated, 0.025),
             .high = quantile(replicated, 0.975),
             .baseline_below = points_[reached->below].run,
             .baseline_above = points_[reached->above].run,
             .family_below = points_[point.index].run,
             .family_above = points_[point.index].run,
             .missing = 1.0 - static_cast<double>(replicated.size()) / static_cast<double>(kReplicates)});
      }
    }
  }

  void fit(size_t text, const std::string& family) {
    const std::vector<CostPoint> points =
        frontier(select(family, 0), "train_flops", [&](size_t p) { return points_[p].nll[text]; });
    if (points.size() < 2) return;
    const auto n = static_cast<double>(points.size());
    double x = 0, y = 0, xx = 0, xy = 0;
    for (const CostPoint& point : points) x += std::log(point.cost) / n, y += std::log(point.nll) / n;
    for (const CostPoint& point : points) {
      const double dx = std::log(point.cost) - x;
      xx += dx * dx, xy += dx * (std::log(point.nll) - y);
    }
    FitRow row{.family = family,
               .domain = texts_.names[text],
               .held_out = texts_.held_out[text],
               .points = static_cast<int64_t>(points.size()),
               .exponent = xy / xx};
    row.coefficient = std::exp(y - row.exponent * x);
    double squares = 0.0;
    for (const CostPoint& point : points) {
      const double residual = point.nll - row.coefficient * std::pow(point.cost, row.exponent);
      squares += residual * residual, row.worst = std::max(row.worst, std::abs(residual));
    }
    row.residual = std::sqrt(squares / n);
    factors_.fits.push_back(row);
  }

  const GridResults& results_;
  const TextNames texts_;
  const std::vector<MeanPoint> points_;
  std::map<std::string, std::vector<double>> costs_;  // [measure][of points_], not again for each replicate
  Replicates replicates_;
  Factors factors_;
};

}  // namespace

const FactorRow* Factors::quoted(const std::string& family, const std::string& domain,
                                 const std::string& measure) const {
  const FactorRow* best = nullptr;
  for (const FactorRow& row : rows)
    if (row.form == "frontier" && row.family == family && row.domain == domain && row.measure == measure &&
        (!best || row.family_cost > best->family_cost))
      best = &row;
  return best;
}

Factors make_factors(const GridResults& results) { return FactorMaker(results).make(); }

GridResults tasks_as_texts(const GridResults& results) {
  GridResults as_texts{.grid = results.grid, .speeds = results.speeds, .epochs = results.epochs};
  for (const TaskFacts& task : results.tasks) {
    as_texts.domains.push_back(task.task);
    as_texts.texts.push_back({.name = task.task});
  }
  for (const FinishedRun& finished : results.finals) {
    if (finished.record.status != RunStatus::kOk) continue;
    FinishedRun& run = as_texts.finals.emplace_back(FinishedRun{.run = finished.run, .record = {}, .routers = {}});
    run.record.measured = true;
    for (const TaskFacts& task : results.tasks) {
      const TaskScores* scores = find_scores(finished.record.tasks, task);
      if (!scores) {
        as_texts.finals.pop_back();
        break;
      }
      DomainResult& text =
          run.record.domains.emplace_back(DomainResult{.name = task.task, .documents = {}, .load_LE = {}});
      int64_t wrong = 0;
      for (const char right : scores->right) text.documents.emplace_back(right == '0', 1), wrong += right == '0';
      text.tokens = static_cast<int64_t>(scores->right.size());
      text.nll = static_cast<double>(wrong) / static_cast<double>(text.tokens);
    }
  }
  return as_texts;
}

Factors make_task_factors(const GridResults& results) {
  if (results.tasks.empty()) return {};
  const GridResults as_texts = tasks_as_texts(results);
  Factors factors = FactorMaker(as_texts).make();
  factors.fits.clear();  // a share of wrong answers follows no power law
  return factors;
}

std::vector<TaskFactorRow> task_factor_rows(const Factors& by_tasks) {
  std::vector<TaskFactorRow> rows;
  for (const FactorRow& row : by_tasks.rows)
    rows.push_back({.form = row.form,
                    .task = row.domain == kMeanIn ? kMeanTask : row.domain,
                    .family = row.family,
                    .baseline = row.baseline,
                    .measure = row.measure,
                    .target = 1.0 - row.target,
                    .baseline_cost = row.baseline_cost,
                    .family_cost = row.family_cost,
                    .factor = row.factor,
                    .low = row.low,
                    .high = row.high,
                    .baseline_below = row.baseline_below,
                    .baseline_above = row.baseline_above,
                    .family_below = row.family_below,
                    .family_above = row.family_above});
  return rows;
}

void write_task_factors(const std::filesystem::path& out, const GridResults& results, const Factors& by_tasks) {
  if (!results.tasks.empty()) write_file_atomically(out / "factors_tasks.csv", csv_text(task_factor_rows(by_tasks)));
}

void write_factors(const std::filesystem::path& out, const Factors& factors) {
  write_file_atomically(out / "factors.csv", csv_text(factors.rows));
  write_file_atomically(out / "fits.csv", csv_text(factors.fits));
}

}  // namespace troupe
