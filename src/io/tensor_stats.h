// What the values of a tensor look like, for people who look into files.
#pragma once

#include <cstdint>
#include <span>

namespace troupe {

struct TensorStats {
  double mean = 0, std = 0;  // population standard deviation; of the finite values
  double min = 0, max = 0;   // of the finite values; 0 if there are none
  int64_t non_finite = 0;    // NaN and infinities
};

// Two passes in double, in order: independent of the number of threads.
TensorStats stats_of(std::span<const float> values);

}  // namespace troupe
