#include "io/torch_zip.h"

#include <minizip/unzip.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace troupe {
namespace {

// minizip reads through these callbacks from memory.
struct Cursor {
  std::span<const uint8_t> bytes;
  uint64_t at = 0;
};

Cursor& cursor_of(voidpf opaque) { return *static_cast<Cursor*>(opaque); }

voidpf open_memory(voidpf opaque, const void*, int) { return opaque; }

uLong read_memory(voidpf opaque, voidpf, void* out, uLong size) {
  Cursor& cursor = cursor_of(opaque);
  const uint64_t left = cursor.bytes.size() - cursor.at;
  const uint64_t count = std::min<uint64_t>(size, left);
  if (count) std::memcpy(out, cursor.bytes.data() + cursor.at, count);
  cursor.at += count;
  return static_cast<uLong>(count);
}

ZPOS64_T tell_memory(voidpf opaque, voidpf) { return cursor_of(opaque).at; }

long seek_memory(voidpf opaque, voidpf, ZPOS64_T offset, int origin) {
  Cursor& cursor = cursor_of(opaque);
  uint64_t base = 0, target = 0;
  if (origin == ZLIB_FILEFUNC_SEEK_CUR) base = cursor.at;
  if (origin == ZLIB_FILEFUNC_SEEK_END) base = cursor.bytes.size();
  if (__builtin_add_overflow(base, offset, &target) || target > cursor.bytes.size()) return -1;
  cursor.at = target;
  return 0;
}

int close_memory(voidpf, voidpf) { return 0; }
int error_memory(voidpf, voidpf) { return 0; }

// minizip is content with half an end record if the 64-bit one before it is whole; a complete file ends with all of it.
bool has_end_record(std::span<const uint8_t> bytes) {
  constexpr size_t kRecord = 22, kLongestComment = 65535;
  const std::span<const uint8_t> tail = bytes.last(std::min(bytes.size(), kRecord + kLongestComment));
  const std::string_view text(reinterpret_cast<const char*>(tail.data()), tail.size());
  const size_t at = text.rfind("PK\x05\x06");
  if (at == text.npos || text.size() - at < kRecord) return false;
  return text.size() == at + kRecord + tail[at + 20] + 256u * tail[at + 21];  // the length of its comment
}

struct CloseZip {
  void operator()(void* zip) const { unzClose(zip); }
};
using Zip = std::unique_ptr<void, CloseZip>;

}  // namespace

TorchZip::TorchZip(const std::filesystem::path& path) : where_(path.string()), file_(path) {
  read_directory(file_.bytes());
}

TorchZip::TorchZip(std::span<const uint8_t> bytes, std::string where) : where_(std::move(where)) {
  read_directory(bytes);
}

void TorchZip::read_directory(std::span<const uint8_t> bytes) {
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "PK\x03\x04", 4) != 0)
    fail(ErrorCode::kData,
         "{}: expected a torch checkpoint (a zip file), got something else (files of torch before 1.6 are pickles: "
         "load and save them again with a newer torch)",
         where_);
  Cursor cursor{bytes, 0};
  zlib_filefunc64_def functions{open_memory, read_memory,  nullptr,      tell_memory,
                                seek_memory, close_memory, error_memory, &cursor};
  const Zip zip(unzOpen2_64(where_.c_str(), &functions));
  if (!zip || !has_end_record(bytes))
    fail(ErrorCode::kData, "{}: expected a zip directory at the end, got none (truncated file?)", where_);

  std::unordered_map<std::string, std::span<const uint8_t>> found;
  std::string folder;
  int folders = 0;
  int status = unzGoToFirstFile(zip.get());
  for (; status == UNZ_OK; status = unzGoToNextFile(zip.get())) {
    char name[512] = {};
    unz_file_info64 info{};
    if (unzGetCurrentFileInfo64(zip.get(), &info, name, sizeof name - 1, nullptr, 0, nullptr, 0) != UNZ_OK ||
        info.size_filename >= sizeof name)
      fail(ErrorCode::kData, "{}: expected entry {} of the zip directory, got broken data", where_, found.size());
    if (info.compression_method != 0 || (info.flag & 1) || info.compressed_size != info.uncompressed_size)
      fail(ErrorCode::kData, "{}: {}: expected a stored entry, got a compressed or encrypted one", where_, name);
    int method = 0, level = 0;
    if (unzOpenCurrentFile2(zip.get(), &method, &level, 1) != UNZ_OK)
      fail(ErrorCode::kData, "{}: {}: expected an entry as the directory says, got broken data", where_, name);
    const ZPOS64_T begin = unzGetCurrentFileZStreamPos64(zip.get());
    unzCloseCurrentFile(zip.get());
    if (begin > bytes.size() || info.uncompressed_size > bytes.size() - begin)
      fail(ErrorCode::kData, "{}: {}: expected {} bytes from byte {} on, got a file of {}", where_, name,
           info.uncompressed_size, begin, bytes.size());
    if (!found.emplace(name, bytes.subspan(begin, info.uncompressed_size)).second)
      fail(ErrorCode::kData, "{}: {}: expected each entry once, got it twice", where_, name);
    const std::string_view view(name);
    if (view == "data.pkl" || view.ends_with("/data.pkl")) {
      folder = view.substr(0, view.size() - std::strlen("data.pkl"));
      ++folders;
    }
  }
  if (status != UNZ_END_OF_LIST_OF_FILE)
    fail(ErrorCode::kData, "{}: expected the next entry of the zip directory, got broken data", where_);
  if (folders != 1)
    fail(ErrorCode::kData, "{}: expected one data.pkl, got {} (not a torch checkpoint?)", where_, folders);
  for (auto& [name, data] : found)
    if (name.starts_with(folder)) entries_.emplace(name.substr(folder.size()), data);
  if (const auto* order = find("byteorder"))
    if (std::string_view(reinterpret_cast<const char*>(order->data()), order->size()) != "little")
      fail(ErrorCode::kData, "{}: byteorder: expected little, got another one", where_);
}

const std::span<const uint8_t>* TorchZip::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

std::span<const uint8_t> TorchZip::at(const std::string& name) const {
  if (const auto* entry = find(name)) return *entry;
  fail(ErrorCode::kData, "{}: expected an entry {}, got none", where_, name);
}

}  // namespace troupe
