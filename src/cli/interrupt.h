// SIGINT and SIGTERM as a question that a long command asks between its steps. A second signal ends the program at
// once.
#pragma once

namespace troupe::cli {

class InterruptGuard {
 public:
  InterruptGuard();   // takes over both signals
  ~InterruptGuard();  // gives them back
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const;
};

}  // namespace troupe::cli
