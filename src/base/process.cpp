#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace troupe {
namespace {

[[noreturn]] void fail_to(const char* action) {
  fail(ErrorCode::kEnvironment, "cannot {}: {}", action, std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  operator int() const { return number_; }
  void reset() {
    if (number_ >= 0) close(std::exchange(number_, -1));
  }

 private:
  int number_;
};

struct Pipe {
  Descriptor reader, writer;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail_to("make a pipe");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// A file in memory rather than a pipe: it can be written before anybody reads.
Descriptor file_of(std::string_view bytes) {
  Descriptor file(memfd_create("input", MFD_CLOEXEC));
  if (file < 0) fail_to("make a file in memory");
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) fail_to("write to a file in memory");
    bytes.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
  }
  lseek(file, 0, SEEK_SET);
  return file;
}

void drain(int out, int err, ProcessResult& result) {
  std::array<pollfd, 2> wait{{{out, POLLIN, 0}, {err, POLLIN, 0}}};
  const std::array<std::string*, 2> into{&result.output, &result.errors};
  std::array<char, 65536> buffer;
  while (wait[0].fd >= 0 || wait[1].fd >= 0) {
    if (poll(wait.data(), wait.size(), -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
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

ProcessResult run_program(const std::vector<std::string>& argv, const std::filesystem::path& folder,
                          std::string_view input) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  std::string language = "LC_ALL=C.UTF-8";
  std::vector<char*> environment = {language.data()};
  for (char** variable = environ; *variable; ++variable)
    if (std::strncmp(*variable, "LC_ALL=", 7) != 0) environment.push_back(*variable);
  environment.push_back(nullptr);

  Pipe out = make_pipe(), err = make_pipe();
  const Descriptor in = file_of(input);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.writer, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.writer, STDERR_FILENO);
  if (!folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  // A name that is found nowhere is EACCES, too, if a folder of PATH cannot be searched.
  const bool none = error == ENOENT || (error == EACCES && argv[0].find('/') == argv[0].npos);
  if (error != 0) return {.status = none ? 127 : 126, .output = {}, .errors = std::strerror(error)};

  out.writer.reset(), err.writer.reset();
  ProcessResult result;
  drain(out.reader, err.reader, result);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace troupe
