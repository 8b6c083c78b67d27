// metrics.jsonl of a run, read back: what train/metrics.h wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/metrics.h"

namespace troupe {

struct MetricsHistory {
  std::vector<StepLine> train;
  std::vector<ValidLine> valid;

  double tokens_at(int64_t step) const;  // trained on up to this step, between the lines linearly
};

// Numbers that are null are NaN; lines of other schemas are passed over; a half line at the end (of a run that was
// killed) is dropped. Throws kData: "RUN/metrics.jsonl:12: loss: expected a number, got "x"".
MetricsHistory read_metrics(const std::filesystem::path& path);
MetricsHistory parse_metrics(std::string_view text, const std::string& where);

}  // namespace troupe
