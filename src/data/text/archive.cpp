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

// libarchive reading from a ByteSource, whose exceptions must not pass through C.
class Reader {
 public:
  explicit Reader(ByteSource& source)
      : source_(source), buffer_(1 << 16), archive_(archive_read_new(), archive_read_free) {
    if (!archive_) fail(ErrorCode::kEnvironment, "libarchive: out of memory");
    ::archive* const a = archive_.get();
    // By name: some of `all` start programs, or have no users but exploits.
    archive_read_support_format_ar(a), archive_read_support_format_tar(a), archive_read_support_format_zip(a);
    archive_read_support_filter_gzip(a), archive_read_support_filter_bzip2(a), archive_read_support_filter_xz(a);
    archive_read_support_filter_lzma(a), archive_read_support_filter_zstd(a);
    check(archive_read_open(a, this, nullptr, read_block, nullptr));
  }

  // The next entry, or null at the end.
  archive_entry* next() {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(archive_.get(), &entry);
    if (status == ARCHIVE_EOF) return nullptr;
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
      const size_t got = reader->source_.read(reader->buffer_.data(), reader->buffer_.size());
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
    fail(ErrorCode::kData, "expected an archive (tar, zip or ar; gzip, bzip2, xz or zstd), got: {}",
         reason ? reason : "damaged data");
  }

  ByteSource& source_;
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

}  // namespace

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
