#include "data/text/byte_source.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "io/regular_file.h"

namespace troupe {
namespace {

constexpr size_t kChunk = 1 << 17;

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : path_(path), standard_input_(path == "-") {
    file_ = standard_input_ ? stdin : ::fdopen(open_regular_file(path), "rb");
    if (!file_) fail(ErrorCode::kEnvironment, "{}: cannot open: {}", path, std::strerror(errno));
  }
  ~FileSource() override {
    if (!standard_input_) std::fclose(file_);
  }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  size_t read(char* dst, size_t size) override {
    const size_t got = std::fread(dst, 1, size, file_);
    if (got == 0 && std::ferror(file_))
      fail(ErrorCode::kEnvironment, "{}: cannot read: {}", path_, std::strerror(errno));
    return got;
  }

 private:
  std::string path_;
  bool standard_input_;
  FILE* file_;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  size_t read(char* dst, size_t size) override {
    const size_t got = std::min(size, bytes_.size());
    std::memcpy(dst, bytes_.data(), got);
    bytes_.remove_prefix(got);
    return got;
  }

 private:
  std::string_view bytes_;
};

class ZstdSource final : public ByteSource {
 public:
  explicit ZstdSource(std::unique_ptr<ByteSource> compressed)
      : compressed_(std::move(compressed)), stream_(ZSTD_createDStream(), ZSTD_freeDStream), buffer_(kChunk) {
    if (!stream_) fail(ErrorCode::kEnvironment, "zstd: cannot create a decompressor (out of memory)");
    // As much as zstd can: 2 GiB (zstd --long=31) on machines of 64 bits. The default is 128 MiB.
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }
  size_t read(char* dst, size_t size) override {
    ZSTD_outBuffer out{dst, size, 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size) {
        const size_t got = compressed_->read(buffer_.data(), buffer_.size());
        in_ = {buffer_.data(), got, 0};
        consumed_ += got;
        if (got == 0) {
          if (inside_frame_ || consumed_ == 0)
            fail(ErrorCode::kData,
                 "expected the rest of a zstd frame, got the end of the file after {} bytes (truncated)", consumed_);
          return 0;
        }
      }
      const size_t status = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(status)) refuse(status);
      say_if_large();
      inside_frame_ = status != 0;
    }
    return out.pos;
  }

 private:
  [[noreturn]] void refuse(size_t status) const {
    const size_t at = consumed_ - in_.size + in_.pos;
    switch (ZSTD_getErrorCode(status)) {
      case ZSTD_error_memory_allocation:
        fail(ErrorCode::kEnvironment, "out of memory for the window of a zstd frame near compressed byte {}", at);
      case ZSTD_error_frameParameter_windowTooLarge:
        fail(ErrorCode::kData, "expected a zstd window of at most {} MiB, got a larger one near compressed byte {}",
             (size_t{1} << ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound) >> 20, at);
      default:
        fail(ErrorCode::kData, "expected a zstd frame, got damaged data near compressed byte {}: {}", at,
             ZSTD_getErrorName(status));
    }
  }

  // zstd's default limit, beyond which it asks its users for consent.
  void say_if_large() {
    const size_t bytes = ZSTD_sizeof_DStream(stream_.get());
    if (said_large_ || bytes < size_t{256} << 20) return;
    said_large_ = true;
    log::info("a zstd frame asks for a window of {} MiB of memory (written with zstd --long)", bytes >> 20);
  }

  std::unique_ptr<ByteSource> compressed_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> buffer_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  size_t consumed_ = 0;
  bool inside_frame_ = false, said_large_ = false;
};

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<ByteSource> compressed) : compressed_(std::move(compressed)), buffer_(kChunk) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) fail(ErrorCode::kEnvironment, "zlib: out of memory");
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  size_t read(char* dst, size_t size) override {
    stream_.next_out = reinterpret_cast<Bytef*>(dst);
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(size, 1u << 30));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (stream_.avail_in == 0) {
        const size_t got = compressed_->read(buffer_.data(), buffer_.size());
        stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
        stream_.avail_in = static_cast<uInt>(got);
        consumed_ += got;
        if (got == 0) {
          if (inside_member_ || consumed_ == 0)
            fail(ErrorCode::kData,
                 "expected the rest of a gzip stream, got the end of the file after {} bytes (truncated)", consumed_);
          return 0;
        }
      }
      if (!inside_member_) {
        if (seen_member_) skip_padding();
        if (stream_.avail_in == 0) continue;
        inflateReset(&stream_);
        inside_member_ = seen_member_ = true;
      }
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        inside_member_ = false;
      } else if (status == Z_MEM_ERROR) {
        throw std::bad_alloc();
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        fail(ErrorCode::kData, "expected gzip data, got damage near compressed byte {}: {}",
             consumed_ - stream_.avail_in, stream_.msg ? stream_.msg : "unknown error");
      }
    }
    return room - stream_.avail_out;
  }

 private:
  // Tapes and archives fill up blocks with zero bytes after a member; gzip(1) passes over them too.
  void skip_padding() {
    while (stream_.avail_in > 0 && *stream_.next_in == 0) ++stream_.next_in, --stream_.avail_in;
  }

  std::unique_ptr<ByteSource> compressed_;
  std::vector<char> buffer_;
  z_stream stream_{};
  size_t consumed_ = 0;
  bool inside_member_ = false, seen_member_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_file(const std::string& path) { return std::make_unique<FileSource>(path); }

std::unique_ptr<ByteSource> memory_source(std::string_view bytes) { return std::make_unique<MemorySource>(bytes); }

std::unique_ptr<ByteSource> zstd_source(std::unique_ptr<ByteSource> compressed) {
  return std::make_unique<ZstdSource>(std::move(compressed));
}

std::unique_ptr<ByteSource> gzip_source(std::unique_ptr<ByteSource> compressed) {
  return std::make_unique<GzipSource>(std::move(compressed));
}

std::unique_ptr<ByteSource> open_maybe_compressed(const std::string& path) {
  auto file = open_file(path);
  if (path.ends_with(".zst")) return zstd_source(std::move(file));
  if (path.ends_with(".gz")) return gzip_source(std::move(file));
  return file;
}

std::string read_all(ByteSource& source, size_t max_bytes) {
  std::string bytes;
  for (;;) {
    const size_t have = bytes.size();
    bytes.resize(have + kChunk);
    const size_t got = source.read(bytes.data() + have, kChunk);
    bytes.resize(have + got);
    if (got == 0) return bytes;
    if (bytes.size() > max_bytes) fail(ErrorCode::kData, "expected at most {} bytes, got more", max_bytes);
  }
}

}  // namespace troupe
