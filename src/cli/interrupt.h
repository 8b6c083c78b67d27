// SIGINT, SIGTERM and SIGHUP as a question that a long command asks between its steps, so that it can write what it
// has. A second signal of any kind ends the program at once. A closed pipe ends nothing: the write that meets it fails.
#pragma once

#include <csignal>

namespace troupe::cli {

class InterruptGuard {
 public:
  InterruptGuard();  // takes over the signals; SIGHUP only unless it is ignored (nohup). SIGPIPE stays ignored for good
  ~InterruptGuard();  // gives them back
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3];
};

}  // namespace troupe::cli
