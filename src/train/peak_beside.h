// The machine's peak beside each interval of a run: the better of what was measured before and after it, since a burst
// may fall into a moment in which another program runs.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "base/clock.h"

namespace troupe {

class PeakBeside {
 public:
  // Measures the peak now, FLOP/s; may be empty: then the peak is 0, which stands for unknown.
  explicit PeakBeside(std::function<double()> measure) : measure_(std::move(measure)) {}

  // To be called at the start and the end of every interval.
  double operator()() {
    constexpr double kSeconds = 5.0;  // between measurements, which take some 25 ms
    if (measure_ && (after_ == 0.0 || seconds_since(time_) >= kSeconds)) {
      before_ = after_;
      after_ = measure_();
      time_ = Clock::now();
    }
    return std::max(before_, after_);
  }

 private:
  std::function<double()> measure_;
  double before_ = 0.0, after_ = 0.0;
  Clock::time_point time_;
};

}  // namespace troupe
