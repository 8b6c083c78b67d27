#include "data/fairseq/indexed_dataset.h"

#include <cstring>
#include <limits>
#include <string>

#include "base/error.h"
#include "io/mapped_file.h"

namespace troupe {
namespace {

constexpr std::string_view kMagic{"MMIDIDX\0\0", 9};
constexpr size_t kHeader = 9 + 8 + 1 + 8;

template <class T>
T load(std::span<const uint8_t> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

int64_t id_bytes(uint8_t dtype, const std::string& where) {
  switch (dtype) {
    case 1:
    case 2:
      return 1;
    case 3:
    case 8:
      return 2;
    case 4:
      return 4;
    case 5:
      return 8;
  }
  fail(ErrorCode::kData, "{}: byte 17: dtype: expected 1 (u8), 2 (i8), 3 (i16), 4 (i32), 5 (i64) or 8 (u16), got {}",
       where, dtype);
}

int64_t load_id(std::span<const uint8_t> bytes, size_t at, uint8_t dtype) {
  switch (dtype) {
    case 1:
      return load<uint8_t>(bytes, at);
    case 2:
      return load<int8_t>(bytes, at);
    case 3:
      return load<int16_t>(bytes, at);
    case 4:
      return load<int32_t>(bytes, at);
    case 5:
      return load<int64_t>(bytes, at);
  }
  return load<uint16_t>(bytes, at);
}

std::filesystem::path without_extension(std::filesystem::path path) {
  if (path.extension() == ".bin" || path.extension() == ".idx") path.replace_extension();
  return path;
}

std::filesystem::path with_extension(const std::filesystem::path& prefix, const char* extension) {
  return prefix.string() + extension;
}

}  // namespace

FairseqLines parse_fairseq_lines(std::span<const uint8_t> idx, const std::string& idx_where,
                                 std::span<const uint8_t> bin, const std::string& bin_where) {
  if (idx.size() < kHeader || std::memcmp(idx.data(), kMagic.data(), kMagic.size()) != 0)
    fail(ErrorCode::kData,
         "{}: byte 0: expected the magic MMIDIDX and a header of {} bytes, got {} bytes of another kind", idx_where,
         kHeader, idx.size());
  if (const auto version = load<uint64_t>(idx, 9); version != 1)
    fail(ErrorCode::kData, "{}: byte 9: version: expected 1, got {}", idx_where, version);
  const uint8_t dtype = idx[17];
  const int64_t width = id_bytes(dtype, idx_where);
  const auto lines = load<uint64_t>(idx, 18);
  if (lines > (idx.size() - kHeader) / 12 || idx.size() != kHeader + 12 * lines)
    fail(ErrorCode::kData, "{}: lines: expected {} bytes after the header for {} lines, got {}", idx_where,
         lines > idx.size() ? "more" : std::to_string(12 * lines), lines, idx.size() - kHeader);

  FairseqLines result;
  result.begin.reserve(lines + 1);
  result.ids.reserve(bin.size() / static_cast<size_t>(width));
  const size_t bytes_at = kHeader + 4 * lines;
  for (size_t line = 0; line < lines; ++line) {
    const int64_t length = load<int32_t>(idx, kHeader + 4 * line), byte = load<int64_t>(idx, bytes_at + 8 * line);
    const auto size = static_cast<int64_t>(bin.size());
    if (length < 0 || byte < 0 || byte > size || length > (size - byte) / width)
      fail(ErrorCode::kData, "{}: line {}: expected ids within the {} bytes of {}, got {} ids from byte {}", idx_where,
           line, size, bin_where, length, byte);
    if (result.ids.size() + static_cast<size_t>(length) > bin.size())
      fail(ErrorCode::kData, "{}: line {}: expected lines that do not overlap, got more ids than {} has", idx_where,
           line, bin_where);
    for (int64_t i = 0; i < length; ++i) {
      const int64_t id = load_id(bin, static_cast<size_t>(byte + i * width), dtype);
      if (id < 0 || id > std::numeric_limits<int32_t>::max())
        fail(ErrorCode::kData, "{}: byte {}: expected an id in [0, 2^31), got {}", bin_where, byte + i * width, id);
      result.ids.push_back(static_cast<int32_t>(id));
    }
    result.begin.push_back(static_cast<int64_t>(result.ids.size()));
  }
  return result;
}

FairseqLines read_fairseq_lines(const std::filesystem::path& prefix) {
  const std::filesystem::path stem = without_extension(prefix);
  const MappedFile idx(with_extension(stem, ".idx")), bin(with_extension(stem, ".bin"));
  return parse_fairseq_lines(idx.bytes(), idx.path().string(), bin.bytes(), bin.path().string());
}

bool is_fairseq_binary(const std::filesystem::path& path) {
  return std::filesystem::is_regular_file(with_extension(without_extension(path), ".idx"));
}

}  // namespace troupe
