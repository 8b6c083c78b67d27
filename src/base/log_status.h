// The line at the bottom of a terminal on stderr: a progress bar. Lines of the log stand above it.
#pragma once

#include <string_view>

namespace troupe::log {

// Draws `line`, which must fit the terminal's width and have no line end, in place of the one before; "" removes it.
void set_status(std::string_view line);

// While it lives the status line is away, and this thread alone writes to the terminal: every line of the log has one,
// and so has whoever writes to the terminal past the log.
class StatusAside {
 public:
  StatusAside();
  ~StatusAside();  // draws the line again
  StatusAside(const StatusAside&) = delete;
  StatusAside& operator=(const StatusAside&) = delete;
};

}  // namespace troupe::log
