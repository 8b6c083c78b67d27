#include "io/tensor_stats.h"

#include <algorithm>
#include <cmath>

namespace troupe {

TensorStats stats_of(std::span<const float> values) {
  TensorStats stats;
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      ++stats.non_finite;
      continue;
    }
    stats.min = count ? std::min<double>(stats.min, value) : value;
    stats.max = count ? std::max<double>(stats.max, value) : value;
    sum += value;
    ++count;
  }
  if (count == 0) return stats;
  stats.mean = sum / static_cast<double>(count);
  for (const float value : values)
    if (std::isfinite(value)) squares += (value - stats.mean) * (value - stats.mean);
  stats.std = std::sqrt(squares / static_cast<double>(count));
  return stats;
}

}  // namespace troupe
