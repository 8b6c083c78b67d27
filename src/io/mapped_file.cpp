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

void give_back_pages(std::span<const uint8_t> mapped) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(mapped.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(mapped.data() + mapped.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // advice: may be refused
}

}  // namespace troupe
