#include "cli/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>

#include "base/error.h"

namespace troupe::cli {
namespace {

void check_input() {  // std::cin takes an error for the end
  if (std::ferror(stdin))
    fail(ErrorCode::kEnvironment, "standard input: expected to read it, got: {}", std::strerror(errno));
}

}  // namespace

void open_closed_streams() {
  constexpr int kModes[] = {O_WRONLY, O_RDONLY, O_WRONLY};  // 0 and 1 the wrong way round: see the header
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) static_cast<void>(::open("/dev/null", kModes[fd]));
}

std::string read_standard_input() {
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  check_input();
  return text;
}

bool read_standard_input_line(std::string& line) {
  errno = 0;
  const bool got = static_cast<bool>(std::getline(std::cin, line));
  check_input();
  return got;
}

}  // namespace troupe::cli
