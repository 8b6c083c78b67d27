// How long the rest of a task takes, from the part that was done while somebody looked: a task that goes on where it
// once stopped is not faster for it.
#pragma once

#include <optional>

namespace troupe {

class TimeLeft {
 public:
  // `done` of `total` at `seconds` of any clock. Nothing until something was done after the first call, within at least
  // kGuessSeconds.
  std::optional<double> operator()(double done, double total, double seconds) {
    if (!first_) first_ = Point{done, seconds};
    const double spent = seconds - first_->seconds, more = done - first_->done;
    if (spent < kGuessSeconds || more <= 0.0 || done >= total) return std::nullopt;
    return spent * (total - done) / more;
  }

 private:
  static constexpr double kGuessSeconds = 1.0;
  struct Point {
    double done, seconds;
  };
  std::optional<Point> first_;
};

}  // namespace troupe
