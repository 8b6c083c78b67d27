// The median of measurements.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace troupe {

// The upper one of the two in the middle for an even number; `values` must not be empty.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace troupe
