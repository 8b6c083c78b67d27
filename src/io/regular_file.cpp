#include "io/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace troupe {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISREG(mode)) return "a file";
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  return S_ISSOCK(mode) ? "a socket" : "a device";
}

}  // namespace

std::string kind_of_file(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "nothing of that name";
  return kind_of(info.st_mode);
}

int open_regular_file(const std::filesystem::path& path, ErrorCode code) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info {};
  if (fd < 0 || ::fstat(fd, &info) != 0) {
    const int reason = errno;
    if (fd >= 0) ::close(fd);
    fail(code, "{}: expected a readable file, got: {}", path.string(), std::strerror(reason));
  }
  if (S_ISREG(info.st_mode)) return fd;
  ::close(fd);
  fail(code, "{}: expected a regular file, got {}", path.string(), kind_of(info.st_mode));
}

}  // namespace troupe
