#include "cli/progress.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/log_file.h"
#include "base/log_settings.h"
#include "base/log_status.h"
#include "base/utf8.h"
#include "cli/color.h"

namespace troupe::cli {
namespace {

constexpr double kBarSeconds = 0.1;  // the bar is drawn at most this often

}  // namespace

Progress::Progress(std::string label, double total, double line_seconds)
    : label_(std::move(label)),
      total_(total),
      line_seconds_(line_seconds),
      terminal_(is_terminal(Stream::kError)),
      start_(Clock::now()),
      last_(start_ - std::chrono::hours(1)),
      last_line_(last_) {}

Progress::~Progress() { clear(); }

std::string Progress::text(double done, std::optional<double> seconds_left, std::string_view detail, bool bar) const {
  if (total_ <= 0.0) return fmt::format("{}: {}", label_, detail);
  const double share = std::clamp(done / total_, 0.0, 1.0);
  const std::string left = seconds_left ? ", " + short_duration(*seconds_left) + " left" : "";
  if (!bar) return fmt::format("{}: {:.0f} %{}  {}", label_, 100.0 * share, left, detail);
  constexpr size_t kWidth = 24;
  const auto filled = static_cast<size_t>(share * kWidth);
  return fmt::format("{} [{}{}] {:3.0f} %{}  {}", label_, std::string(filled, '#'), std::string(kWidth - filled, '.'),
                     100.0 * share, left, detail);
}

void Progress::update(double done, std::string_view detail) {
  const std::optional<double> left = time_left_(done, total_, seconds_since(start_));
  if (seconds_since(last_line_) >= line_seconds_) {  // a log keeps no bar, but a line now and then
    last_line_ = Clock::now();
    log::write_to_file(text(done, left, detail, false));
  }
  if (log::is_quiet()) return;
  if (seconds_since(last_) < (terminal_ ? kBarSeconds : line_seconds_)) return;
  last_ = Clock::now();
  std::string line = visible_line(text(done, left, detail, terminal_));
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  if (const size_t columns = terminal_columns(Stream::kError); line.size() >= columns)
    line.resize(utf8_whole_bytes(std::string_view(line).substr(0, columns - 1)));
  log::set_status(line);
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  log::set_status("");
  drawn_ = false;
}

void Progress::finish(std::string_view detail) {
  clear();
  if (!log::is_quiet())
    std::fprintf(stderr, "%s: %.*s\n", label_.c_str(), static_cast<int>(detail.size()), detail.data());
}

}  // namespace troupe::cli
