#include "data/text/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/error.h"

namespace troupe {
namespace {

// A source whose first bytes were read already.
class Rest final : public ByteSource {
 public:
  Rest(std::string first, ByteSource& source) : first_(std::move(first)), source_(source) {}
  size_t read(char* dst, size_t size) override {
    if (at_ == first_.size()) return source_.read(dst, size);
    const size_t got = first_.copy(dst, size, at_);
    at_ += got;
    return got;
  }

 private:
  const std::string first_;
  size_t at_ = 0;
  ByteSource& source_;
};

// Of gzip the plain bytes, through zlib: libarchive 3.6 does not look at the checksum and length behind the data.
std::unique_ptr<ByteSource> without_gzip(ByteSource& source) {
  constexpr std::string_view kMagic = "\x1f\x8b";
  std::string first(kMagic.size(), '\0');
  size_t have = 0;
  for (size_t got = 1; have < first.size() && got > 0; have += got)
    got = source.read(first.data() + have, first.size() - have);
  first.resize(have);
  const bool gzip = first == kMagic;
  auto whole = std::make_unique<Rest>(std::move(first), source);
  return gzip ? gzip_source(std::move(whole)) : std::move(whole);
}

// libarchive reading from a ByteSource, whose exceptions must not pass through C.
class Reader {
 public:
  enum class Holds { kFiles, kOneStream };
  explicit Reader(ByteSource& source, Holds holds = Holds::kFiles)
      : source_(without_gzip(source)), buffer_(1 << 16), archive_(archive_read_new(), archive_read_free) {
    if (!archive_) fail(ErrorCode::kEnvironment, "libarchive: out of memory");
    ::archive* const a = archive_.get();
    // By name: some of `all` start programs, or have no users but exploits.
    if (holds == Holds::kFiles)
      archive_read_support_format_ar(a), archive_read_support_format_tar(a), archive_read_support_format_zip(a);
    else
      archive_read_support_format_raw(a), archive_read_support_format_empty(a);
    archive_read_support_filter_bzip2(a), archive_read_support_filter_xz(a);
    archive_read_support_filter_lzma(a), archive_read_support_filter_zstd(a);
    check(archive_read_open(a, this, nullptr, read_block, nullptr));
  }

  // The next entry, or null at the end.
  archive_entry* next() {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(archive_.get(), &entry);
    if (status == ARCHIVE_EOF) {  // what checks the data may stand behind the archive's own end
      while (source_->read(buffer_.data(), buffer_.size()) > 0) {
      }
      return nullptr;
    }
    if (status != ARCHIVE_WARN) check(status);  // warnings: names and attributes that this locale cannot show
    return entry;
  }

  size_t read(char* dst, size_t size) {
    const la_ssize_t got = archive_read_data(archive_.get(), dst, size);
    if (got < 0) check(static_cast<int>(got));
    return static_cast<size_t>(got);
  }

  void skip() { check(archive_read_data_skip(archive_.get())); }

 private:
  static la_ssize_t read_block(::archive* a, void* self, const void** block) {
    auto* const reader = static_cast<Reader*>(self);
    *block = reader->buffer_.data();
    try {
      const size_t got = reader->source_->read(reader->buffer_.data(), reader->buffer_.size());
      return static_cast<la_ssize_t>(got);
    } catch (...) {
      reader->thrown_ = std::current_exception();
      archive_set_error(a, EIO, "its source failed");
      return ARCHIVE_FATAL;
    }
  }

  void check(int status) {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    if (status == ARCHIVE_OK) return;
    const char* const reason = archive_error_string(archive_.get());
    if (archive_errno(archive_.get()) == ENOMEM) throw std::bad_alloc();
    fail(ErrorCode::kData, "expected an archive (tar, zip or ar; gzip, bzip2, xz or zstd), got: {} near byte {}",
         reason ? reason : "damaged data", archive_filter_bytes(archive_.get(), -1));
  }

  std::unique_ptr<ByteSource> source_;
  std::vector<char> buffer_;
  std::exception_ptr thrown_;
  std::unique_ptr<::archive, int (*)(::archive*)> archive_;
};

class MemberSource final : public ByteSource {
 public:
  explicit MemberSource(Reader& reader) : reader_(reader) {}
  size_t read(char* dst, size_t size) override {
    if (!at_end_ && size > 0) {
      const size_t got = reader_.read(dst, size);
      if (got > 0) return got;
      at_end_ = true;
    }
    return 0;
  }

 private:
  Reader& reader_;
  bool at_end_ = false;
};

// Names in UTF-8 as they are, whatever the locale; those in other encodings as their bytes.
std::string path_of(archive_entry* entry) {
  const char* name = archive_entry_pathname_utf8(entry);
  if (!name) name = archive_entry_pathname(entry);
  std::string_view path = name ? name : "";
  while (path.starts_with("./") || path.starts_with("/")) path.remove_prefix(path[0] == '/' ? 1 : 2);
  if (path.empty()) fail(ErrorCode::kData, "expected a name of each file in an archive, got none");
  return std::string(path);
}

class StreamSource final : public ByteSource {
 public:
  explicit StreamSource(ByteSource& bytes) : reader_(bytes, Reader::Holds::kOneStream) {}
  size_t read(char* dst, size_t size) override {
    if (size == 0 || at_end_) return 0;
    if (!started_) at_end_ = reader_.next() == nullptr;
    started_ = true;
    const size_t got = at_end_ ? 0 : reader_.read(dst, size);
    if (got == 0 && !at_end_) reader_.next();  // reads what checks the data
    at_end_ = got == 0;
    return got;
  }

 private:
  Reader reader_;
  bool started_ = false, at_end_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> decompressed_source(ByteSource& bytes) { return std::make_unique<StreamSource>(bytes); }

void for_each_member(ByteSource& archive, const MemberVisitor& visit) {
  Reader reader(archive);
  while (archive_entry* const entry = reader.next()) {
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry)) continue;
    const std::string path = path_of(entry);
    try {
      MemberSource bytes(reader);
      visit(path, bytes);
      reader.skip();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kData) throw;
      fail(ErrorCode::kData, "{}: {}", path, error.what());
    }
  }
}

}  // namespace troupe
