#include "data/corpus/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace troupe::corpus {
namespace {

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
      fail(ErrorCode::kEnvironment, "cannot make a pipe: {}", std::strerror(errno));
  }
  ~Pipe() {
    for (const int end : ends)
      if (end >= 0) close(end);
  }
  void close_writer() { close(std::exchange(ends[1], -1)); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
};

void drain(Pipe& out, Pipe& err, ProcessResult& result) {
  std::array<pollfd, 2> wait{{{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}}};
  const std::array<std::string*, 2> into{&result.output, &result.errors};
  std::array<char, 65536> buffer;
  while (wait[0].fd >= 0 || wait[1].fd >= 0) {
    if (poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) break;
    for (size_t i = 0; i < wait.size(); ++i) {
      if (wait[i].fd < 0 || wait[i].revents == 0) continue;
      const ssize_t got = read(wait[i].fd, buffer.data(), buffer.size());
      if (got > 0)
        into[i]->append(buffer.data(), static_cast<size_t>(got));
      else if (got == 0 || errno != EINTR)
        wait[i].fd = -1;
    }
  }
}

}  // namespace

ProcessResult run_program(const std::vector<std::string>& argv, const std::filesystem::path& folder) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  // The child may only call async-signal-safe functions: its environment is prepared here.
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable)
    if (std::strncmp(*variable, "LC_ALL=", 7) != 0) variables.emplace_back(*variable);
  variables.emplace_back("LC_ALL=C.UTF-8");
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  Pipe out, err;
  const pid_t child = fork();
  if (child < 0) fail(ErrorCode::kEnvironment, "cannot start {}: {}", argv[0], std::strerror(errno));
  if (child == 0) {
    const int null = open("/dev/null", O_RDONLY);
    if (chdir(folder.c_str()) != 0) _exit(126);
    dup2(null, 0);
    dup2(out.ends[1], 1);
    dup2(err.ends[1], 2);
    execvpe(arguments[0], arguments.data(), environment.data());
    _exit(127);
  }
  out.close_writer();
  err.close_writer();
  ProcessResult result;
  drain(out, err, result);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace troupe::corpus
