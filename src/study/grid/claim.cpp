#include "study/grid/claim.h"

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "io/lock_holder.h"

namespace troupe {

std::unique_ptr<WriterLock> try_claim(const std::filesystem::path& path) {
  constexpr int kTries = 5;  // another that asks who holds the lock, holds it for a moment
  for (int attempt = 1;; ++attempt) {
    try {
      return std::make_unique<WriterLock>(path);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kEnvironment) throw;
      if (lock_holder(path, WriterLock::Place::kBeside)) return nullptr;
      if (attempt == kTries) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(20 * attempt));
    }
  }
}

std::unique_ptr<WriterLock> claim(const std::filesystem::path& path, const std::function<bool()>& interrupted) {
  for (bool said = false;; said = true) {
    if (auto lock = try_claim(path)) return lock;
    if (const auto holder = lock_holder(path, WriterLock::Place::kBeside); holder && !said)
      log::info("waiting for {}, which works on {}", *holder, path.string());
    wait_a_moment(1.0, interrupted);
    if (interrupted && interrupted()) fail(ErrorCode::kInterrupted, "interrupted while waiting for {}", path.string());
  }
}

void wait_a_moment(double seconds, const std::function<bool()>& interrupted) {
  for (const Clock::time_point start = Clock::now(); seconds_since(start) < seconds;) {
    if (interrupted && interrupted()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace troupe
