// metrics.jsonl: one JSON object a line, appended while a run goes on (docs/training.md lists the fields).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/trainer.h"

namespace troupe {

// Sums since the previous line of metrics. Part of a checkpoint, so that a resumed run writes the same lines.
struct MetricsInterval {
  LossSum loss;
  std::vector<RouterStats> routers;
  double seconds = 0.0;  // in training steps: validation and checkpoints do not count

  void add(const StepStats& stats, double step_seconds);
  nlohmann::ordered_json to_json() const;
  static MetricsInterval from_json(const nlohmann::json& object);  // of to_json(); throws nlohmann's exceptions
};

// Totals of a run.
struct RunTotals {
  int64_t tokens = 0;    // scored targets
  double seconds = 0.0;  // in training steps
};

// "troupe.train/1": loss, ppl, aux_loss, drop_rate, tokens_per_s and moe are over the interval, lr and grad_norm of the
// last step. mfu is model FLOPs (nothing recomputed) over peak_flops; null if that is 0 or below what was reached, since
// then it was no peak.
nlohmann::ordered_json train_line(const StepStats& last, const MetricsInterval& interval, const RunTotals& totals,
                                  double flops_per_token, double peak_flops);

class MetricsFile {
 public:
  // Keeps the lines with step <= last_step of an existing file and appends after them. Throws kEnvironment if the file
  // cannot be written; a half line at the end (a crash while writing) is dropped.
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
