// A file mapped read-only into memory. Pages are read on first use; a file that another program shortens while it is
// mapped ends the process with SIGBUS, as for every memory-mapped reader.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

namespace troupe {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws kData if the path is missing, unreadable or not a regular file, naming it and the reason.
  explicit MappedFile(std::filesystem::path path);
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }  // empty for an empty file
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::span<const uint8_t> bytes_;
};

// Gives back the memory of pages that lie within these bytes of a mapped file; they would be read again. For a file as
// large as memory that is read once from front to back.
void give_back_pages(std::span<const uint8_t> mapped);

}  // namespace troupe
