// The zip container of torch checkpoints: stored (uncompressed) entries below one folder, memory-mapped.
// minizip reads the directory (zip64 included); the data is used where it lies in the mapped file. Entry checksums
// (CRC-32) are not verified, as that would read every byte of a file of which often only a part is wanted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>

#include "io/mapped_file.h"

namespace troupe {

class TorchZip {
 public:
  // Throws kData naming the file: not a zip (with a hint for torch's format before 1.6), broken or truncated directory,
  // compressed or encrypted entries, an entry twice or outside the file, no or several data.pkl.
  explicit TorchZip(const std::filesystem::path& path);
  TorchZip(std::span<const uint8_t> bytes, std::string where);  // memory that outlives the object

  // By the name below the archive's folder: "data.pkl", "data/17". find() gives nullptr, at() throws kData.
  const std::span<const uint8_t>* find(const std::string& name) const;
  std::span<const uint8_t> at(const std::string& name) const;
  const std::string& where() const { return where_; }

 private:
  void read_directory(std::span<const uint8_t> bytes);

  std::string where_;
  MappedFile file_;
  std::unordered_map<std::string, std::span<const uint8_t>> entries_;
};

}  // namespace troupe
