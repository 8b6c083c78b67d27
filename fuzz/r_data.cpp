// Any bytes as an R object in XDR form and as an R database: strings, or a troupe::Error.
#include "data/corpus/parsers/r_data.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    troupe::corpus::read_r_strings(bytes);
  } catch (const troupe::Error&) {
  }
  try {
    troupe::corpus::read_r_database(bytes);
  } catch (const troupe::Error&) {
  }
  return 0;
}
