#include "io/unfinished.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iterator>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "io/unfinished_folders.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

struct Registry {
  std::recursive_mutex mutex;
  std::set<fs::path> paths;
  std::set<fs::path> folders;  // outer ones before inner ones
};

Registry& registry() {
  static auto* const one = new Registry;  // outlives every static object
  return *one;
}

int wake[2] = {-1, -1};
struct sigaction before[std::size(kSignals)];
std::thread* remover = nullptr;

void on_signal(int) {
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = ::write(wake[1], "!", 1);
  errno = reason;
}

void remove_everything_and_exit() {
  registry().mutex.lock();  // for good: nothing may be put in place any more
  for (const fs::path& path : registry().paths) {
    std::error_code error;
    for (int tries = 0; tries < 100; ++tries) {  // the other threads may still be writing into it
      fs::remove_all(path, error);
      if (!fs::exists(fs::symlink_status(path, error))) break;
      ::usleep(1000);
    }
  }
  for (auto folder = registry().folders.rbegin(); folder != registry().folders.rend(); ++folder)
    ::rmdir(folder->c_str());
  log::write(log::Level::kError, "interrupted; what was unfinished is removed");
  ::_exit(static_cast<int>(ErrorCode::kInterrupted));
}

}  // namespace

Unfinished::Unfinished(fs::path path) : path_(std::move(path)) {
  const UnfinishedLock lock;
  registry().paths.insert(path_);
}

Unfinished::~Unfinished() {
  const UnfinishedLock lock;
  registry().paths.erase(path_);
}

void add_unfinished_folder(const fs::path& folder) {
  const UnfinishedLock lock;
  registry().folders.insert(folder);
}
void forget_unfinished_folder(const fs::path& folder) {
  const UnfinishedLock lock;
  registry().folders.erase(folder);
}

UnfinishedLock::UnfinishedLock() { registry().mutex.lock(); }
UnfinishedLock::~UnfinishedLock() { registry().mutex.unlock(); }

RemoveOnInterrupt::RemoveOnInterrupt() {
  if (remover) fail(ErrorCode::kInternal, "RemoveOnInterrupt: expected one at a time");
  if (::pipe2(wake, O_CLOEXEC) != 0) fail(ErrorCode::kEnvironment, "expected a pipe, got none from the system");
  remover = new std::thread([] {
    char what = '.';
    while (::read(wake[0], &what, 1) < 0 && errno == EINTR) {
    }
    if (what == '!') remove_everything_and_exit();
  });
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    if (kSignals[i] != SIGHUP || before[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
}

RemoveOnInterrupt::~RemoveOnInterrupt() {
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
  [[maybe_unused]] const ssize_t written = ::write(wake[1], ".", 1);
  remover->join();
  delete remover;
  remover = nullptr;
  ::close(wake[0]);
  ::close(wake[1]);
}

}  // namespace troupe
