// The compute-saving factor: how many times less a family needs than the baseline to reach the same loss, in FLOPs,
// seconds and memory; with intervals by bootstrap (grid/bootstrap.h), and power laws through each family's frontier.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "study/grid/bootstrap.h"
#include "study/grid/grid_tables.h"

namespace troupe {

struct FactorRow {
  std::string form;  // frontier: all points of a family; fixed_tokens: sizes at one budget, as in the paper
  std::string domain;
  bool held_out = false;
  std::string family, baseline, measure;  // measure: train_flops, seconds, memory_bytes
  double target = 0, baseline_cost = 0, family_cost = 0, factor = 0;
  double low = 0, high = 0;  // 95 % of the replicates that have a factor; NaN if none has
  std::string baseline_below, baseline_above, family_below, family_above;  // runs
  double missing = 0;  // share of replicates that left the range the baseline reached; not a column of factors.csv

  // Whether low and high may be quoted: with more missing they are those of the replicates on one side alone.
  bool has_interval() const { return std::isfinite(low) && missing <= 0.05; }

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.factor/1");
    v("form", form), v("domain", domain), v("held_out", held_out), v("family", family), v("baseline", baseline);
    v("measure", measure), v("target", target), v("baseline_cost", baseline_cost), v("family_cost", family_cost);
    v("factor", factor), v("low", low), v("high", high), v("baseline_below", baseline_below);
    v("baseline_above", baseline_above), v("family_below", family_below), v("family_above", family_above);
  }
};

// nll = coefficient * train_flops ^ exponent, by least squares in logarithms over the points of a frontier.
struct FitRow {
  std::string family, domain;
  bool held_out = false;
  int64_t points = 0;
  double coefficient = 0, exponent = 0;
  double residual = 0, worst = 0;  // root mean square and largest, nats

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.fit/1");
    v("family", family), v("domain", domain), v("held_out", held_out), v("points", points);
    v("coefficient", coefficient), v("exponent", exponent), v("residual", residual), v("worst", worst);
  }
};

struct Factors {
  std::vector<FactorRow> rows;
  std::vector<FitRow> fits;  // of frontiers of two points and more
  std::vector<SeedResiduals> residuals;

  // The row of the frontier with the largest cost of the family, or nullptr.
  const FactorRow* quoted(const std::string& family, const std::string& domain, const std::string& measure) const;
};

// A row for every point of a family's frontier whose nll the baseline's frontier reaches, domain by domain.
Factors make_factors(const GridResults& results);

// The same by accuracy of tasks: the loss of a task is its share of wrong answers, its units are its items. Of runs
// that were scored on all tasks; no rows without tasks. Fits are none.
Factors make_task_factors(const GridResults& results);

// A row of factors_tasks.csv: `target` is an accuracy.
struct TaskFactorRow {
  std::string form, task, family, baseline, measure;
  double target = 0, baseline_cost = 0, family_cost = 0, factor = 0, low = 0, high = 0;
  std::string baseline_below, baseline_above, family_below, family_above;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.task_factor/1");
    v("form", form), v("task", task), v("family", family), v("baseline", baseline), v("measure", measure);
    v("target", target), v("baseline_cost", baseline_cost), v("family_cost", family_cost), v("factor", factor);
    v("low", low), v("high", high), v("baseline_below", baseline_below), v("baseline_above", baseline_above);
    v("family_below", family_below), v("family_above", family_above);
  }
};
std::vector<TaskFactorRow> task_factor_rows(const Factors& by_tasks);

// factors_tasks.csv, if the study has tasks.
void write_task_factors(const std::filesystem::path& out, const GridResults& results, const Factors& by_tasks);

// The mean over tasks in TaskFactorRow::task.
inline constexpr const char* kMeanTask = "mean";

// Results in which each task stands as a text.
GridResults tasks_as_texts(const GridResults& results);

// factors.csv and fits.csv.
void write_factors(const std::filesystem::path& out, const Factors& factors);

}  // namespace troupe
