// What `troupe eval ... --json` printed, of one or several models, read back for comparison.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/result_lines.h"

namespace troupe {

// A model as its results describe it.
struct EvaluatedModel {
  std::string name;  // on the page
  ModelFacts facts;

  std::string family() const;  // "dense", "MoE, 16 experts"
};

// One figure of one model. What is measured is the same for two models if `key()` is.
struct EvalFigure {
  enum Kind { kTask, kPerplexity, kBias } kind = kTask;
  size_t model = 0;        // index into EvalResults::models
  std::string set, group;  // task and its part; name of the text; bias set and its category
  std::string convention, metric;
  int64_t shots = 0, draws = 1, n = 0;
  int64_t left_out = 0;                 // items or documents that are not in n: the figure is one of a part
  double value = 0, half_interval = 0;  // of the 95 % interval; NaN where unknown
  double chance = kNan;                 // NaN where there is none
  DocumentScores documents;             // of a text, for paired comparisons
  std::string data_checksum;

  std::string key() const;
};

struct EvalResults {
  std::vector<EvaluatedModel> models;
  std::vector<EvalFigure> figures;
  std::map<std::pair<size_t, std::string>, size_t> index;  // of each model's key

  // The figure of a model with this key, or nullptr.
  const EvalFigure* find(size_t model, const std::string& key) const;
};

// Adds the JSON lines of a file called `where`. With a `name` all are results of the model of that name, else each line
// names its own. Averages are passed over: they follow from the rest. Throws kData naming line and field: no JSON
// object, another schema, a missing field or one of the wrong type, a figure that a model has already, a name that
// another model (by checksum) has.
void read_eval_results(std::string_view text, const std::string& where, const std::string& name, EvalResults& results);

}  // namespace troupe
