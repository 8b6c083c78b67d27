// What is known of a trained model: the one family of results that the study, reports and their pages share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "eval/perplexity.h"
#include "eval/statistics.h"
#include "study/metrics_history.h"
#include "study/paired.h"
#include "train/run_config.h"

namespace troupe {

// A model on one set of text. What is not known is NaN.
struct DomainResult {
  std::string name;
  bool in_domain = false, held_out = false;  // of a domain that the model was trained on, or that it never saw
  int64_t tokens = 0, bytes = -1;            // scored; -1: unknown
  double nll = kNan;                         // nats per token
  double standard_error = kNan;              // of nll, over documents
  double bits_per_byte = kNan, drop_rate = 0;
  DocumentScores documents;                   // in the order of the dataset; empty: not known
  std::vector<std::vector<int64_t>> load_LE;  // choices per MoE layer and expert; empty: not known

  double perplexity() const;
  std::string label() const;  // "quotes (held out)"
  bool is_same_text(const DomainResult& other) const { return name == other.name && held_out == other.held_out; }

  template <class V>
  void fields(V& v) {
    v("domain", name), v("in_domain", in_domain), v("held_out", held_out), v.count("tokens", tokens), v("bytes", bytes);
    v("nll", nll), v("standard_error", standard_error), v("bits_per_byte", bits_per_byte), v("drop_rate", drop_rate);
    v("load", load_LE), v("documents", documents);
  }
};

struct TextSample {
  std::string prompt, text;
  std::string finish;  // FinishReason: "length", "end_of_text"

  template <class V>
  void fields(V& v) {
    v("prompt", prompt), v("text", text), v("finish", finish);
  }
};

struct ModelResult {
  std::string name;
  RunConfig config;
  std::string config_text;  // resolved TOML
  int64_t params = 0, active_params = 0;
  double flops_per_token = 0;           // of training, nothing recomputed
  int64_t step = 0, steps = 0;          // done, and of the whole run
  int64_t tokens = 0;                   // trained on
  double seconds = 0;                   // in training steps
  MetricsHistory metrics;
  std::vector<std::string> computed_by;  // one line per start and resume of the run (history.jsonl)
  std::vector<DomainResult> domains;
  std::vector<TextSample> samples;

  double train_flops() const { return flops_per_token * static_cast<double>(tokens); }
  double tokens_per_second() const;  // NaN without a time
  bool is_moe() const { return config.model.moe.num_experts > 0; }
  bool is_finished() const { return step >= steps; }
  // Logging intervals that ran at less than half the median speed, of how many: another program had the machine.
  struct Disturbance {
    int64_t intervals = 0, of = 0;
    double slowest = 1.0;  // over the median
  };
  Disturbance disturbance() const;
  const DomainResult* find(const DomainResult& like) const;  // its result of the same text, or nullptr
};

// Of a run's folder: config.toml and metrics.jsonl, with the last validation as domains. Throws kData if either is
// missing or damaged, or no line of training is there.
ModelResult read_run(const std::filesystem::path& folder, const std::string& name);

// One text of one model against the baseline.
struct Comparison {
  std::string model, baseline;
  DomainResult domain;  // of the model
  PairedDifference difference;
};
// Every other model against the first, text by text, where both were scored on the same documents.
std::vector<Comparison> compare_to_first(const std::vector<ModelResult>& models);
// Its JSON line, of a study and of `troupe eval ppl`.
constexpr const char* kStudyComparison = "troupe.study.comparison/1";
constexpr const char* kEvalComparison = "troupe.eval.comparison/1";
struct ComparisonLine {
  std::string schema, model, baseline, data;
  bool held_out = false;
  int64_t documents = 0;
  double difference = 0, standard_error = 0, half_interval = 0;
  bool real = false;  // better or worse
  std::string verdict;

  template <class V>
  void fields(V& v) {
    v("schema", schema), v("model", model), v("baseline", baseline), v("data", data), v("held_out", held_out);
    v("documents", documents), v("difference", difference), v("stderr", standard_error);
    v("half_interval", half_interval), v("real", real), v("verdict", verdict);
  }
};
ComparisonLine comparison_line(const Comparison& comparison, const std::string& schema);

const Comparison* find(const std::vector<Comparison>& comparisons, const std::string& model, const DomainResult& text);

// "moe against dense: better on 5 of 8 sets of text, worse on 1, undecided on 2."
std::string summary_of(const std::vector<Comparison>& comparisons, const std::string& model);
extern const char* const kPairedNote;  // what the intervals of comparisons hold, and what they do not

// Which part of their validation sets these runs are validated on: "all of each set".
std::string validated_part(const std::vector<ModelResult>& runs);

// Every text of any model, those of training domains first.
std::vector<DomainResult> all_domains(const std::vector<ModelResult>& models);

}  // namespace troupe
