// Any bytes as a manual page: no macro, string or condition makes it run away.
#include "data/corpus/parsers/roff.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  troupe::corpus::roff_to_text(bytes);
  return 0;
}
