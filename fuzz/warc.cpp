// Any bytes as a web archive.
#include <cstdint>
#include <string>
#include <string_view>

#include "data/corpus/released/warc.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto source = troupe::memory_source(bytes);
    troupe::corpus::read_warc(*source, [](const std::string&, const std::string&) {});
  } catch (const troupe::Error&) {
  }
  return 0;
}
