#include "io/writer_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/machine.h"
#include "io/lock_holder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// Whether the file of this name is still the open one: a holder removes it when it is done.
bool is_current(int fd, const fs::path& file) {
  struct stat open_file {
  }, named{};
  return ::fstat(fd, &open_file) == 0 && ::stat(file.c_str(), &named) == 0 && open_file.st_ino == named.st_ino &&
         open_file.st_dev == named.st_dev;
}

std::string holder_of(int fd) {
  char text[256];
  const ssize_t size = ::pread(fd, text, sizeof text, 0);
  const std::string all(text, size > 0 ? static_cast<size_t>(size) : 0);
  const std::string line = all.substr(0, all.find('\n'));
  return line.empty() ? "another process" : line;
}

fs::path lock_file(const fs::path& path, WriterLock::Place place) {
  return place == WriterLock::Place::kInside ? path / "writer.tmp-lock" : fs::path(path.string() + ".tmp-lock");
}

}  // namespace

WriterLock::WriterLock(const fs::path& path, Place place)
    : file_(lock_file(path, place)) {
  const auto refuse = [&](const std::string& message) {
    const int fd = fd_;
    fd_ = -1;
    if (fd >= 0) ::close(fd);
    fail(ErrorCode::kEnvironment, "{}", message);
  };
  const fs::path folder = file_.parent_path();
  if (!folder.empty()) folders_.emplace(folder);
  for (;;) {
    fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) refuse(fmt::format("{}: expected to create it, got: {}", file_.string(), std::strerror(errno)));
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK)
        refuse(fmt::format("{}: expected no other writer, got one at work: {} (wait for it, or name another place)",
                           path.string(), holder_of(fd_)));
      log::warning("{}: expected to lock it against a second writer, got: {}", file_.string(), std::strerror(errno));
      break;
    }
    if (is_current(fd_, file_)) break;
    ::close(fd_);
  }
  unfinished_.emplace(file_);
  const std::string text = fmt::format("process {} on {} since {}\n", ::getpid(), host_name(), utc_time());
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, text.data(), text.size(), 0) < 0) {
    // A full disk: the lock holds all the same, and those who meet it learn no name.
  }
}

std::optional<std::string> lock_holder(const fs::path& path, WriterLock::Place place) {
  const int fd = ::open(lock_file(path, place).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::optional<std::string> holder;
  if (::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) holder = holder_of(fd);
  ::close(fd);  // and with it the lock, if we got it
  return holder;
}

void WriterLock::release() {
  if (fd_ < 0) return;
  ::unlink(file_.c_str());  // while it is locked: whoever opened it meanwhile sees that it is gone
  ::close(fd_);
  fd_ = -1;
  unfinished_.reset();
  folders_.reset();
}

}  // namespace troupe
