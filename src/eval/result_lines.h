// The JSON lines that `troupe eval` and `troupe score` print: what writes them here is what reads them in
// study/eval_results.h (docs/evaluation.md). What a comparison can do without may be lacking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "eval/perplexity.h"
#include "eval/statistics.h"
#include "io/provenance.h"

namespace troupe {

// What every result says of the model. Numbers that are not known are NaN.
struct ModelFacts {
  std::string model, model_checksum;  // the model as given; the checksum knows of an adapter, too
  std::string adapter = {};           // merged into it, as given; empty: none
  int64_t params = 0, active_params = 0;
  int64_t experts = 0;  // of a MoE layer; 0: dense
  double train_tokens = kNan, train_flops = kNan;
  std::optional<Provenance> provenance;

  template <class V>
  void fields(V& v) {
    v("model", model), v("model_checksum", model_checksum), v.unless_empty("adapter", adapter);
    v.count("params", params), v.count("active_params", active_params), v.count("experts", experts);
    v("train_tokens", train_tokens), v("train_flops", train_flops);
    v.unless_empty("provenance", provenance);
  }
};

// How the figures of tasks and bias sets were computed.
struct EvalFacts {
  std::string capacity, precision;
  std::string tokenizer;  // whether it is the model's
  ModelFacts model;
};

// A figure of a task, or of a part of it.
struct TaskLine {
  static constexpr const char* kSchema = "troupe.eval.tasks/1";
  std::string task, convention, metric;
  double value = 0, item_error = kNan;
  int64_t n = 0;
  double chance = kNan;
  int64_t shots = 0, draws = 1;
  std::optional<std::string> group;
  std::tuple<double, double> interval = {kNan, kNan};
  double draw_error = kNan, mean_shots = 0;
  uint64_t seed = 0;
  std::string score, split;
  int64_t skipped = 0, left_out = 0;
  std::optional<int64_t> limit;
  int64_t truncated = 0;
  double drop_rate = 0;
  std::string data_checksum;
  EvalFacts facts;

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("task", task), v("convention", convention), v("metric", metric), v("value", value), v("stderr", item_error);
    v.count("n", n), v("chance", chance), v.count("shots", shots), v.may_lack("draws", draws), v("group", group);
    v("interval", interval), v.may_lack("draw_stderr", draw_error), v.may_lack("mean_shots", mean_shots);
    v.may_lack("seed", seed), v.may_lack("score", score), v.may_lack("split", split), v.may_lack("skipped", skipped);
    v.may_lack("left_out", left_out), v.may_lack("limit", limit), v.may_lack("truncated", truncated);
    v.may_lack("drop_rate", drop_rate), v.may_lack("capacity", facts.capacity);
    v.may_lack("precision", facts.precision), v("data_checksum", data_checksum);
    facts.model.fields(v);
    v.may_lack("tokenizer", facts.tokenizer);
  }
};

// The mean over the study's six tasks.
struct TaskAverageLine {
  static constexpr const char* kSchema = "troupe.eval.tasks.average/1";
  std::string task, convention, metric;
  double value = 0, item_error = kNan;
  int64_t n = 0, shots = 0, draws = 1;
  EvalFacts facts;

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("task", task), v("convention", convention), v("metric", metric), v("value", value), v("stderr", item_error);
    v.count("n", n), v.count("shots", shots), v.count("draws", draws);
    v("capacity", facts.capacity), v("precision", facts.precision);
    facts.model.fields(v);
    v("tokenizer", facts.tokenizer);
  }
};

struct PerplexityLine {
  static constexpr const char* kSchema = "troupe.eval.ppl/1";
  std::string data;
  int64_t tokens = 0;
  std::optional<int64_t> bytes;
  double nll = 0, ppl = 0, bits_per_byte = kNan, drop_rate = 0, standard_error = kNan, nll_sum = 0;
  int64_t documents = 0, skipped = 0;
  std::string capacity, mode;
  int64_t context = 0, batch = 0;
  std::string precision, data_checksum, tokenizer;
  ModelFacts model;
  DocumentScores document_scores;  // for comparisons; left out where there are none

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("data", data), v.may_lack("tokens", tokens), v.may_lack("bytes", bytes), v("nll", nll), v.may_lack("ppl", ppl);
    v.may_lack("bits_per_byte", bits_per_byte), v.may_lack("drop_rate", drop_rate), v("stderr", standard_error);
    v.may_lack("nll_sum", nll_sum), v.count("documents", documents), v.may_lack("skipped", skipped);
    v.may_lack("capacity", capacity), v("mode", mode), v.may_lack("context", context), v.may_lack("batch", batch);
    v.may_lack("precision", precision), v("data_checksum", data_checksum), v.may_lack("tokenizer", tokenizer);
    model.fields(v);
    v.unless_empty("document_scores", document_scores);
  }
};

struct BiasLine {
  static constexpr const char* kSchema = "troupe.eval.bias/1";
  std::string set, category, metric;
  double value = 0;
  int64_t n = 0;
  double standard_error = kNan;
  std::string convention, data_checksum;
  EvalFacts facts;

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("set", set), v("category", category), v("metric", metric), v("value", value), v.count("n", n);
    v("stderr", standard_error), v("convention", convention), v.may_lack("capacity", facts.capacity);
    v.may_lack("precision", facts.precision), v("data_checksum", data_checksum);
    facts.model.fields(v);
    v.may_lack("tokenizer", facts.tokenizer);
  }
};

struct ScoreLine {
  static constexpr const char* kSchema = "troupe.score/1";
  int64_t tokens = 0;
  double nll_sum = 0, drop_rate = 0;
  std::string capacity, precision, model, adapter, out;
  std::optional<Provenance> provenance;

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v.count("tokens", tokens), v("nll_sum", nll_sum), v("drop_rate", drop_rate), v("capacity", capacity);
    v("precision", precision), v("model", model), v.unless_empty("adapter", adapter), v("out", out);
    v("provenance", provenance);
  }
};

}  // namespace troupe
