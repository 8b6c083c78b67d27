// Any bytes as zstd frames and as gzip members: decompressed in bounded memory, or refused with a troupe::Error.
#include <cstdint>
#include <string>
#include <string_view>

#include "data/text/byte_source.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool zstd : {true, false}) {
    try {
      auto source = troupe::memory_source(bytes);
      source = zstd ? troupe::zstd_source(std::move(source)) : troupe::gzip_source(std::move(source));
      troupe::read_all(*source, 1 << 24);
    } catch (const troupe::Error&) {
    }
  }
  return 0;
}
