// The configuration file of a study: models trained on the same tokens in the same order, and what they are compared
// on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "troupe/fields.h"
#include "troupe/path_fields.h"

namespace troupe {

// Many trainings in place of one budget: every family at every size, with every number of tokens (docs/study.md).
struct GridConfig {
  std::vector<std::string> families, sizes;
  std::vector<int64_t> tokens;
  std::vector<int64_t> seeds = {1};
  std::vector<int64_t> more_seeds;
  std::vector<std::string> more_seeds_at, skip;
  int64_t lr_trials = 0;
  double max_hours = 0.0;
  double max_epochs = 4.0;
  double speed_seconds = 6.0;
  bool keep_models = false;
  std::map<std::string, std::string> origins;  // of keys, "a.toml:3": for messages

  bool empty() const { return families.empty(); }

  template <class V>
  void fields(V& v) {
    v("families", families, Paths::kNamed,
      "\"NAME=CONFIG.toml\": everything but size, tokens and seed; the first is the baseline of factors");
    v("sizes", sizes, any_value(),
      "\"LAYERSxWIDTH\": what becomes of each family's model; heads, d_ff and expert_d_ff keep their ratio to the width");
    v("tokens", tokens, range(1, 1e15), "training tokens: a run with its own schedule for each number");
    v("seeds", seeds, range(0, 1e15), "of every point: initialisation, order of the data, dropout");
    v("more_seeds", more_seeds, range(0, 1e15), "further seeds of the points more_seeds_at");
    v("more_seeds_at", more_seeds_at, any_value(), "patterns of points, \"FAMILY/SIZE/TOKENS\" with *, ? and [ab]");
    v("skip", skip, any_value(), "patterns of points that are left out");
    v("lr_trials", lr_trials, range(0, 100),
      "trainings of each family and size at the smallest budget to find its learning rate: the family's own, half and "
      "twice it, then on by factors of 2 towards the best; 0: the family's own, else at least 3");
    v("max_hours", max_hours, range(0, 1e6),
      "training hours by the measured speeds: runs go cheapest first as long as they fit; 0: no limit");
    v("max_epochs", max_epochs, range(0.001, 1e6), "most times that a run may read a domain");
    v("speed_seconds", speed_seconds, range(0, 3600),
      "for measuring the speed of each family and size, in three turns; 0: none, and no seconds in results");
    v("keep_models", keep_models, any_value(), "keep each run's model once it is measured");
  }
};

// Of the evaluation suite, without examples in front, scored on every finished run of a grid.
struct StudyTasks {
  std::vector<std::string> names;
  std::string data_dir;
  int64_t limit = 0;

  template <class V>
  void fields(V& v) {
    v("names", names, Paths::kToml,
      "of a grid: evaluation tasks that every run is scored on, built-in ones or files FILE.toml");
    v("data_dir", data_dir, Paths::kPlain, "folder of their data, as in `troupe eval tasks --data-dir`");
    v("limit", limit, range(0, 1e12), "only the first items of each group of a task; 0: all");
  }
};

struct StudyConfig {
  std::string corpus;
  int64_t vocab_size = 4096;
  std::vector<std::string> models;
  int64_t tokens = 0;
  int64_t seed = 1;
  std::vector<int64_t> seeds;
  double max_minutes = 0.0;
  int64_t valid_tokens = 0;
  std::vector<std::string> prompts;
  int64_t sample_tokens = 60;
  double sample_temperature = 0.8;
  StudyTasks tasks;
  GridConfig grid;

  template <class V>
  void fields(V& v) {
    v("corpus", corpus, Paths::kPlain, "folder built by `troupe corpus build`: train/, valid/ and heldout/ domains");
    v("vocab_size", vocab_size, range(257, 1 << 24), "tokens of the tokenizer, which is trained on train/");
    v("models", models, Paths::kNamed,
      "\"NAME=CONFIG.toml\": training configurations, each run in a folder NAME of the study; "
      "the first is the baseline of comparisons");
    v("tokens", tokens, range(1, 1e15), "training tokens of each model");
    v("seed", seed, range(0, 1e15), "of every model: initialisation, order of the data, dropout");
    v("seeds", seeds, range(0, 1e15),
      "several in place of one: every model is trained with each, in NAME/seed-S, and results come with their spread");
    v("max_minutes", max_minutes, range(0, 1e7),
      "time for training all models (and seeds) on this machine: a slower one gets fewer tokens; 0: no limit");
    v("valid_tokens", valid_tokens, range(0, 1e15), "most tokens scored of each domain, cut at a document; 0: all");
    v("prompts", prompts, Sentences{}, "openings that every model continues, for the report");
    v("sample_tokens", sample_tokens, range(1, 1 << 24), "length of those continuations");
    v("sample_temperature", sample_temperature, range(0, 1000), "their temperature");
    v("tasks", tasks), v("grid", grid);
  }
};

struct StudyFile {
  StudyConfig study;

  template <class V>
  void fields(V& v) {
    v("study", study);
  }
};

// study.seeds, or study.seed alone.
std::vector<int64_t> seeds_of(const StudyConfig& config);

// Throws kUsage naming `where` unless there is a grid (grid/grid.h checks it), or there are models and each has a name of its own that can be a folder of the study
// beside its files.
void check(const StudyConfig& config, const std::string& where);

// A study file, checked; messages name the line.
StudyConfig load_study(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace troupe
