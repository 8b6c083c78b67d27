// The configuration file of a study: models trained on the same tokens in the same order, and what they are compared
// on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "troupe/fields.h"
#include "troupe/path_fields.h"

namespace troupe {

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
    v("prompts", prompts, any_value(), "openings that every model continues, for the report");
    v("sample_tokens", sample_tokens, range(1, 1 << 24), "length of those continuations");
    v("sample_temperature", sample_temperature, range(0, 1000), "their temperature");
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

// Throws kUsage naming `where` unless there are models and each has a name of its own that can be a folder of the study
// beside its files.
void check(const StudyConfig& config, const std::string& where);

// A study file, checked; messages name the line.
StudyConfig load_study(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace troupe
