#include "data/corpus/parsers/r_data.h"

#include <zlib.h>

#include <algorithm>

#include "base/error.h"

namespace troupe::corpus {
namespace {

constexpr uint32_t kCharacterVector = 16, kCharacters = 9;
constexpr size_t kMaxObjectBytes = 1u << 28;  // 256 MiB: far above any text object
constexpr size_t kMaxRatio = 1032;  // of deflate (zlib's technical notes): more cannot be in the bytes that follow

class Xdr {
 public:
  explicit Xdr(std::string_view bytes) : all_(bytes), rest_(bytes) {}

  std::string_view take(size_t size, const char* what) {
    if (size > rest_.size())
      fail(ErrorCode::kData, "byte {}: expected {} ({} bytes), got the end of the data", position(), what, size);
    const std::string_view part = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return part;
  }
  uint32_t u32(const char* what) {
    const std::string_view b = take(4, what);
    uint32_t value = 0;
    for (const char c : b) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  size_t position() const { return all_.size() - rest_.size(); }
  bool empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view all_, rest_;
};

}  // namespace

std::vector<std::string> read_r_strings(std::string_view bytes) {
  Xdr xdr(bytes);
  if (xdr.take(2, "the XDR mark") != "X\n") fail(ErrorCode::kData, "byte 0: expected an R object in XDR form (X)");
  const uint32_t version = xdr.u32("the format version");
  xdr.u32("the writer's version");
  xdr.u32("the oldest reader's version");
  if (version != 2 && version != 3)
    fail(ErrorCode::kData, "byte 2: expected serialization version 2 or 3, got {}", version);
  if (version == 3) xdr.take(xdr.u32("the length of the encoding"), "the native encoding");
  const size_t at = xdr.position();
  if (const uint32_t type = xdr.u32("the type") & 0xFF; type != kCharacterVector)
    fail(ErrorCode::kData, "byte {}: expected a character vector (type {}), got type {}", at, kCharacterVector, type);
  const uint32_t count = xdr.u32("the number of strings");
  std::vector<std::string> strings;
  for (uint32_t i = 0; i < count; ++i) {
    const size_t start = xdr.position();
    if (const uint32_t type = xdr.u32("a string's type") & 0xFF; type != kCharacters)
      fail(ErrorCode::kData, "byte {}: expected a string (type {}), got type {}", start, kCharacters, type);
    const uint32_t length = xdr.u32("a string's length");
    strings.emplace_back(length == UINT32_MAX ? std::string_view() : xdr.take(length, "a string"));
  }
  return strings;
}

std::vector<std::string> read_r_database(std::string_view bytes) {
  std::vector<std::string> objects;
  for (Xdr file(bytes); !file.empty();) {
    const size_t at = file.position();
    const uint32_t size = file.u32("an object's length");
    const size_t possible = std::min(kMaxObjectBytes, kMaxRatio * file.rest().size());
    if (size > possible)
      fail(ErrorCode::kData, "byte {}: expected an object of at most {} bytes, got {}", at, possible, size);
    std::string object(size, '\0');
    uLongf written = size;
    uLong consumed = static_cast<uLong>(file.rest().size());
    const int status = uncompress2(reinterpret_cast<Bytef*>(object.data()), &written,
                                   reinterpret_cast<const Bytef*>(file.rest().data()), &consumed);
    if (status != Z_OK || written != size)
      fail(ErrorCode::kData, "byte {}: expected {} bytes of zlib data, got damage ({})", at + 4, size, zError(status));
    file.take(consumed, "a zlib stream");
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace troupe::corpus
