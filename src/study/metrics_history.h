// metrics.jsonl of a run, read back: what train/metrics.h wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct RouterPoint {
  int64_t layer = 0;
  std::vector<double> load_E;  // shares of the choices
  double entropy = 0, overflow1 = 0, overflow2 = 0, unused_experts = 0, top20 = 0, bottom20 = 0;
};

struct TrainPoint {
  int64_t step = 0;
  double tokens = 0, loss = 0, aux_loss = 0, lr = 0, grad_norm = 0, tokens_per_s = 0, mfu = 0, drop_rate = 0;
  double time_s = 0;
  std::vector<RouterPoint> routers;
};

struct ValidPoint {
  int64_t step = 0;
  double tokens = 0;  // scored, not trained on
  std::string data;
  double nll = 0, ppl = 0, bits_per_byte = 0, drop_rate = 0;
};

struct MetricsHistory {
  std::vector<TrainPoint> train;
  std::vector<ValidPoint> valid;

  double tokens_at(int64_t step) const;  // trained on up to this step, between the lines linearly
};

// Numbers that are null are NaN; lines of other schemas are passed over; a half line at the end (of a run that was
// killed) is dropped. Throws kData: "RUN/metrics.jsonl:12: loss: expected a number, got "x"".
MetricsHistory read_metrics(const std::filesystem::path& path);
MetricsHistory parse_metrics(std::string_view text, const std::string& where);

}  // namespace troupe
