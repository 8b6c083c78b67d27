#include "dist/watchdog.h"

#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "base/error.h"

namespace troupe {

Watchdog::Watchdog(int rank, int ranks, double limit_s) : rank_(rank), ranks_(ranks), limit_s_(limit_s) {
  if (limit_s_ > 0.0) thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::begin(const char* place) {
  ++calls_;
  place_ = place;
}

void Watchdog::end() { place_ = nullptr; }

// The lowest rank that waits speaks first, and its end ends the others.
void Watchdog::watch() {
  const double limit = limit_s_ + 0.5 * rank_;
  int64_t call = -1;
  Clock::time_point since = Clock::now();
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, std::chrono::milliseconds(100), [&] { return stop_; })) {
    const char* const place = place_;
    if (place == nullptr || calls_ != call) {
      call = calls_;
      since = Clock::now();
    } else if (seconds_since(since) > limit) {
      std::fprintf(stderr,
                   "error: rank %d of %d: %s: expected an answer of the other ranks within %g s, got none (a rank hangs, or "
                   "its machine is cut off; all ranks end, --resume goes on from the newest checkpoint; --watchdog sets "
                   "the time)\n",
                   rank_, ranks_, place, limit_s_);
      std::fflush(stderr);
      _exit(static_cast<int>(ErrorCode::kEnvironment));  // MPI may be called by the other thread alone
    }
  }
}

}  // namespace troupe
