// The data of a grid's results, so that everything can be computed again: one row a run and domain, one a trial, one a
// scored document (docs/study.md lists the columns).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "study/grid/grid.h"
#include "study/grid/run_record.h"
#include "study/grid/speeds.h"
#include "train/metrics.h"

namespace troupe {

// The names that means over domains go by.
inline constexpr const char *kMeanIn = "mean_in", *kMeanOut = "mean_out";

// What the tables are made of.
struct FinishedRun {
  GridRun run;
  RunRecord record;
  std::vector<RouterLine> routers;  // of the last interval of its log; empty for dense
};
struct GridResults {
  Grid grid;
  Speeds speeds;
  std::vector<FinishedRun> finals;  // in the order of points and seeds: measured, or diverged
  struct Trial {
    GridRun run;
    double nll = 0.0;  // infinite: diverged
    bool chosen = false, inside = false;
  };
  std::vector<Trial> trials;         // of a model by rate
  std::vector<std::string> domains;  // "mean_in" and "mean_out" not among them
  std::vector<StudyDomain> texts;    // in the same order
  std::vector<double> epochs;        // by point: the most of any domain
  std::vector<TaskFacts> tasks;
};

struct PointRow {
  std::string run, family, size, recipe, router;
  int64_t experts = 0, top_k = 0, every = 0, expert_d_ff = 0, params = 0, active_params = 0, vocab = 0, tokens = 0;
  double epochs = 0, train_flops = 0, seconds = 0;
  int64_t memory_bytes = 0;
  double lr = 0;
  int64_t seed = 0;
  std::string device, precision, status, domain;
  bool held_out = false;
  int64_t documents = 0;
  double nll = 0, bits_per_byte = 0, standard_error = 0;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.point/1");
    v("run", run), v("family", family), v("size", size), v("recipe", recipe), v("router", router);
    v("experts", experts), v("top_k", top_k), v("every", every), v("expert_d_ff", expert_d_ff), v("params", params);
    v("active_params", active_params), v("vocab", vocab), v("tokens", tokens), v("epochs", epochs);
    v("train_flops", train_flops), v("seconds", seconds), v("memory_bytes", memory_bytes), v("lr", lr), v("seed", seed);
    v("device", device), v("precision", precision), v("status", status), v("domain", domain), v("held_out", held_out);
    v("documents", documents), v("nll", nll), v("bits_per_byte", bits_per_byte), v("stderr", standard_error);
  }
};

struct TrialRow {
  std::string run, family, size;
  int64_t tokens = 0, seed = 0;
  double lr = 0;
  std::string status;
  double nll = 0;
  bool chosen = false, inside = false;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.trial/1");
    v("run", run), v("family", family), v("size", size), v("tokens", tokens), v("seed", seed), v("lr", lr);
    v("status", status), v("nll", nll), v("chosen", chosen), v("inside", inside);
  }
};

struct DocumentRow {
  std::string run, domain;
  int64_t document = 0, tokens = 0;
  double nll = 0;  // sum over its tokens

  template <class V>
  void fields(V& v) {
    v("run", run), v("domain", domain), v("document", document), v("tokens", tokens), v("nll", nll);
  }
};

// A finished run on a task.
struct TaskRow {
  std::string run, family, size;
  int64_t tokens = 0, seed = 0;
  std::string task, convention, metric;
  int64_t items = 0, left_out = 0;
  double accuracy = 0, standard_error = 0, low = 0, high = 0, chance = 0;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.task/1");
    v("run", run), v("family", family), v("size", size), v("tokens", tokens), v("seed", seed), v("task", task);
    v("convention", convention), v("metric", metric), v("items", items), v("left_out", left_out);
    v("accuracy", accuracy), v("stderr", standard_error), v("low", low), v("high", high), v("chance", chance);
  }
};

struct TaskItemsRow {
  std::string run, task, right;  // a character an item: 1, or 0

  template <class V>
  void fields(V& v) {
    v("run", run), v("task", task), v("right", right);
  }
};

// A MoE layer of a finished run, over the last interval of its training log.
struct RouterRow {
  std::string run;
  RouterLine line;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.router/1");
    v("run", run);
    line.fields(v);
  }
};

// What a run took, whatever else the machine did.
struct RunRow {
  std::string run, status;
  double elapsed_s = 0, energy_j = 0;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.grid.run/1");
    v("run", run), v("status", status), v("elapsed_s", elapsed_s), v("energy_j", energy_j);
  }
};

std::vector<TaskRow> task_rows(const GridResults& results);
std::vector<RouterRow> router_rows(const GridResults& results);
std::vector<RunRow> run_rows(const GridResults& results);
int64_t without_tasks(const GridResults& results);  // measured runs that lack a task

std::vector<PointRow> point_rows(const GridResults& results);
std::vector<TrialRow> trial_rows(const GridResults& results);

// A domain's name in tables: that of a held-out one says so where a training domain has the same.
std::vector<std::string> table_names(const std::vector<StudyDomain>& domains);

// points.csv, trials.csv, documents.csv.zst, runs.csv, routers.csv, and with tasks tasks.csv and task_items.csv.zst;
// each whole or not at all.
void write_tables(const std::filesystem::path& out, const GridResults& results);

}  // namespace troupe
