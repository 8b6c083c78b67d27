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

namespace troupe {

// The names that means over domains go by.
inline constexpr const char *kMeanIn = "mean_in", *kMeanOut = "mean_out";

// What the tables are made of.
struct FinishedRun {
  GridRun run;
  RunRecord record;
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

std::vector<PointRow> point_rows(const GridResults& results);
std::vector<TrialRow> trial_rows(const GridResults& results);

// A domain's name in tables: that of a held-out one says so where a training domain has the same.
std::vector<std::string> table_names(const std::vector<StudyDomain>& domains);

// points.csv, trials.csv, documents.csv.zst; each whole or not at all.
void write_tables(const std::filesystem::path& out, const GridResults& results);

}  // namespace troupe
