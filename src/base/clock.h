// Time that passes: for speeds, limits and progress, not for dates.
#pragma once

#include <chrono>

namespace troupe {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace troupe
