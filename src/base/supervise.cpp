#include "base/supervise.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/placement.h"

namespace troupe {
namespace {

volatile std::sig_atomic_t supervised = 0;  // its process, while it runs
volatile std::sig_atomic_t was_asked = 0;

extern "C" void pass_on(int) {
  if (!was_asked && supervised > 0) kill(static_cast<pid_t>(supervised), SIGTERM);
  was_asked = 1;
}

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

// Handlers that pass signals on, and what was there before.
class PassOn {
 public:
  PassOn() {
    struct sigaction action = {};
    action.sa_handler = pass_on;
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      sigaction(kSignals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);  // nohup
    }
  }
  ~PassOn() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  PassOn(const PassOn&) = delete;
  PassOn& operator=(const PassOn&) = delete;

  // In the process that becomes the other program: as it was here. What is caught becomes the default by itself.
  static void block(bool on) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : kSignals) sigaddset(&set, signal);
    sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, nullptr);
  }

 private:
  struct sigaction before_[std::size(kSignals)];
};

// Becomes the program; writes what went wrong to `said` if it cannot.
[[noreturn]] void become(const std::vector<char*>& arguments, pid_t parent, int said) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);  // it was too late
  PassOn::block(false);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  if (write(said, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

// Processes that another one started.
struct Children {
  int ended = 0, alive = 0;
  int alike = 0;  // of those alive the ones that run the program that this process runs
};

Children children_of(pid_t parent) {
  std::string own;
  std::getline(std::ifstream("/proc/self/comm"), own);
  Children found;
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", parent), error)) {
    std::ifstream children(thread.path() / "children");
    for (pid_t child = 0; children >> child;) {
      std::string text;  // "PID (NAME) STATE ..."
      std::getline(std::ifstream(fmt::format("/proc/{}/stat", child)), text);
      const size_t name = text.find('('), name_end = text.rfind(") ");
      if (name_end == text.npos || text[name_end + 2] == 'Z') {
        ++found.ended;
        continue;
      }
      ++found.alive;
      found.alike += text.substr(name + 1, name_end - name - 1) == own;
    }
  }
  return found;
}

// What waitpid() says at its end. mpirun of Open MPI 4.1 may wait for ever in itself after a rank was killed, or for a
// machine that is cut off, to which an ssh of its own still lives.
int status_of(pid_t child) {
  constexpr double kUnnoticed = 10.0;  // seconds
  int status = 0;
  bool had_alike = false;
  Clock::time_point well = Clock::now();
  while (waitpid(child, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const Children children = children_of(child);
    had_alike |= children.alike > 0;
    const bool all_ended = had_alike ? children.alike == 0 : children.alive == 0 && children.ended > 0;
    if (!all_ended) well = Clock::now();
    if (seconds_since(well) < kUnnoticed) continue;
    log::warning("process {} hangs: all that it started has ended, which it did not notice for {} s; it is killed", child,
                 kUnnoticed);
    kill(child, SIGKILL);
    well = Clock::now();
  }
  return status;
}

}  // namespace

Supervised supervise(const std::vector<std::string>& argv) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail(ErrorCode::kEnvironment, "cannot make a pipe: {}", std::strerror(errno));
  unplace_process();
  const PassOn signals;
  const pid_t parent = getpid();
  was_asked = 0;
  PassOn::block(true);  // until it is known whom to pass them on to
  const pid_t child = fork();
  if (child == 0) become(arguments, parent, ends[1]);
  supervised = child;
  PassOn::block(false);
  close(ends[1]);
  int error = child < 0 ? errno : 0;
  while (child > 0 && read(ends[0], &error, sizeof error) < 0 && errno == EINTR) {
  }
  close(ends[0]);
  const int status = child > 0 ? status_of(child) : 0;
  supervised = 0;
  if (error != 0)
    fail(ErrorCode::kEnvironment, "{}: expected a program that can be started, got: {}", argv[0], std::strerror(error));
  return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), .asked = was_asked != 0};
}

}  // namespace troupe
