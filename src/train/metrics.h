// metrics.jsonl: one JSON object a line, appended while a run goes on (docs/training.md lists the fields). The structs
// of its lines are what writes them and what reads them back (study/metrics_history.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eval/perplexity.h"
#include "train/trainer.h"

namespace troupe {

// Sums since the previous line of metrics. Part of a checkpoint, so that a resumed run writes the same lines.
struct MetricsInterval {
  LossSum loss;
  std::vector<RouterStats> routers;
  double seconds = 0.0;  // in training steps: validation and checkpoints do not count

  void add(const StepStats& stats, double step_seconds);
};

// Of one MoE layer, over the interval.
struct RouterLine {
  int64_t layer = 0;
  std::vector<double> load_E;  // shares of the choices
  double entropy = 0, aux_loss = 0, z_loss = 0, overflow1 = 0, overflow2 = 0, top20 = 0, bottom20 = 0;
  int64_t unused_experts = 0;

  template <class V>
  void fields(V& v) {
    v.count("layer", layer), v("load", load_E), v("entropy", entropy);
    v.may_lack("aux_loss", aux_loss), v.may_lack("z_loss", z_loss);
    v("overflow1", overflow1), v("overflow2", overflow2), v.count("unused_experts", unused_experts);
    v("top20", top20), v("bottom20", bottom20);
  }
};

// loss, ppl, aux_loss, z_loss, drop_rate, tokens_per_s and moe are over the interval, lr and grad_norm (before
// clipping) of the last step; tokens and time_s count from the start of the run.
struct StepLine {
  static constexpr const char* kSchema = "troupe.train/1";
  int64_t step = 0;
  double loss = 0, ppl = 0, aux_loss = 0, z_loss = 0, lr = 0, grad_norm = 0;
  int64_t tokens = 0;
  double tokens_per_s = 0, mfu = 0, drop_rate = 0, time_s = 0;  // mfu: NaN where unknown
  std::optional<double> divergence;                             // from a teacher, in nats per token
  std::vector<RouterLine> moe;

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v.count("step", step), v("loss", loss), v("ppl", ppl), v("aux_loss", aux_loss);
    v.may_lack("z_loss", z_loss), v.unless_empty("divergence", divergence), v("lr", lr);
    v("grad_norm", grad_norm), v.count("tokens", tokens), v("tokens_per_s", tokens_per_s), v("mfu", mfu);
    v("drop_rate", drop_rate), v("time_s", time_s), v("moe", moe);
  }
};

// A validation set after `step` updates; nll in nats per token.
struct ValidLine {
  static constexpr const char* kSchema = "troupe.valid/1";
  int64_t step = 0, tokens = 0;  // scored
  std::string data;
  double nll = 0, ppl = 0, bits_per_byte = 0, drop_rate = 0;
  DocumentScores documents;  // for paired comparisons; lines of older versions lack them

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v.count("step", step), v.count("tokens", tokens), v("data", data), v("nll", nll), v("ppl", ppl);
    v("bits_per_byte", bits_per_byte), v("drop_rate", drop_rate), v.unless_empty("document_scores", documents);
  }
};

// Totals of a run.
struct RunTotals {
  int64_t tokens = 0;    // scored targets
  double seconds = 0.0;  // in training steps
};

// mfu is model FLOPs (nothing recomputed) over peak_flops; unknown if that is 0 or below what was reached, since then
// it was no peak.
StepLine train_line(const StepStats& last, const MetricsInterval& interval, const RunTotals& totals,
                    double flops_per_token, double peak_flops);

class MetricsFile {
 public:
  // Keeps the lines with step <= last_step (of a checkpoint; -1: there is none) of an existing file and appends after
  // them. Throws kEnvironment if the file cannot be written; a half line at the end (a crash while writing) is dropped.
  MetricsFile(const std::filesystem::path& path, int64_t last_step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void append(const nlohmann::ordered_json& line);  // reaches the system before it returns

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace troupe
