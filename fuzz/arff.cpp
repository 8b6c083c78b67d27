// Any bytes as a Weka ARFF file.
#include "data/corpus/parsers/arff.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    troupe::corpus::parse_arff(bytes, [](const std::string&) {});
  } catch (const troupe::Error&) {
  }
  return 0;
}
