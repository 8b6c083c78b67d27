// Progress of a long command on stderr: a bar if stderr is a terminal, else one line per interval. Lines of the log and
// results on the same terminal stand above the bar (base/log_status.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/quantity.h"
#include "base/time_left.h"

namespace troupe::cli {

class Progress {
 public:
  // `total` < 0: unknown. Lines (without a terminal) come at most every `line_seconds`.
  explicit Progress(std::string label, double total = -1.0, double line_seconds = 10.0);
  ~Progress();  // ends the bar's line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `detail` follows the bar or stands in the line: "loss 3.21  lr 1e-3".
  void update(double done, std::string_view detail);
  void clear();                          // removes the bar; the next update draws it again
  void finish(std::string_view detail);  // a last line that stays

 private:
  std::string text(double done, std::optional<double> seconds_left, std::string_view detail, bool bar) const;

  std::string label_;
  double total_, line_seconds_;
  bool terminal_, drawn_ = false;
  TimeLeft time_left_;
  Clock::time_point start_, last_, last_line_;
};

}  // namespace troupe::cli
