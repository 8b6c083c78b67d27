// metrics.jsonl of a run for other programs: as one table, and as an event file of TensorBoard. Both have the same
// numbers under the same names: train/loss, valid/NAME/nll, moe/layer1/entropy, task/NAME/harness/acc.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct Scalar {
  std::string tag;
  int64_t step = 0;
  double wall_time = 0.0;  // seconds since 1970, of the line
  double value = 0.0;      // never NaN: what is unknown is left out
};

// In the order of the lines. Throws kData naming file, line and key for one that is no object, or lacks schema or step.
std::vector<Scalar> read_scalars(const std::filesystem::path& metrics);

// RFC 4180: a header `step,TAG,...`, then one line a step with empty cells for what it has not. Of a tag that comes
// twice at a step the last counts.
std::string to_csv(const std::vector<Scalar>& scalars);

// A file of tensorflow.Event records (TFRecord: length, masked CRC-32C, data, masked CRC-32C), opened by brain.Event:2.
std::string to_events(const std::vector<Scalar>& scalars);

}  // namespace troupe
