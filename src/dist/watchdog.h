// Ends the process when other ranks do not answer: a rank that hangs or whose machine is cut off would let the others
// wait for ever. Only time inside a call counts, so a rank that computes for long is not in danger itself.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace troupe {

class Watchdog {
 public:
  Watchdog(int rank, int ranks, double limit_s);  // 0: never
  ~Watchdog();

  // While it lives, this rank waits for others at `place`.
  class Waiting {
   public:
    Waiting(Watchdog& watchdog, const char* place) : watchdog_(watchdog) { watchdog_.begin(place); }
    ~Waiting() { watchdog_.end(); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    Watchdog& watchdog_;
  };

 private:
  void begin(const char* place);
  void end();
  void watch();

  int rank_, ranks_;
  double limit_s_;
  std::atomic<const char*> place_ = nullptr;  // nullptr: computes
  std::atomic<int64_t> calls_ = 0;            // begun
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace troupe
