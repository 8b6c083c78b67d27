// What the GPU in use reaches at most (cli/peak.h): a large product of random numbers, and a sum of large arrays.
#pragma once

#include <memory>
#include <string_view>

#include "cli/peak.h"

namespace troupe::cli {

std::string_view device_peak_name(Peak peak);

class DevicePeaks {
 public:
  DevicePeaks();
  ~DevicePeaks();
  double burst(Peak peak);  // the first of a peak allocates up to 0.8 GB and warms up for a third of a second
  int64_t bytes() const;    // of the device's memory, held

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace troupe::cli
