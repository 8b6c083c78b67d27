#include "io/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "io/regular_file.h"

namespace troupe {

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const int fd = open_regular_file(path_);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    ::close(fd);
    fail(ErrorCode::kEnvironment, "{}: expected to ask for its size, got an error", path_.string());
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* data = size ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0) : nullptr;
  const int reason = errno;
  ::close(fd);
  if (data == MAP_FAILED)
    fail(ErrorCode::kEnvironment, "{}: expected to map {} bytes, got: {}", path_.string(), size, std::strerror(reason));
  bytes_ = {static_cast<const uint8_t*>(data), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace troupe
