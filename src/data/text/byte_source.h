// Where text comes from, as a stream of bytes: a file, standard input, memory, and the decompressors on top of them.
// Nothing here knows lines or documents.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace troupe {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Writes up to `size` bytes to `dst` and returns how many; 0 only at the end. Throws Error(kData) where the stream is
  // damaged or truncated (the message names no file: the caller knows it and the line) and kEnvironment if reading
  // fails.
  virtual size_t read(char* dst, size_t size) = 0;
};

// Throws Error(kData) if the file cannot be opened. "-" is standard input.
std::unique_ptr<ByteSource> open_file(const std::string& path);
// Views `bytes`, which must outlive the source.
std::unique_ptr<ByteSource> memory_source(std::string_view bytes);

// Any number of zstd frames one after the other, skippable ones too; windows up to 2 GiB (zstd --long=31), those beyond
// zstd's default of 128 MiB with a line in the log.
std::unique_ptr<ByteSource> zstd_source(std::unique_ptr<ByteSource> compressed);
// Any number of gzip members one after the other, with zero bytes between and after them.
std::unique_ptr<ByteSource> gzip_source(std::unique_ptr<ByteSource> compressed);

// Opens `path` and decompresses it if its name ends in .zst or .gz.
std::unique_ptr<ByteSource> open_maybe_compressed(const std::string& path);

// Everything that is left. Throws Error(kData) beyond max_bytes.
std::string read_all(ByteSource& source, size_t max_bytes);

}  // namespace troupe
