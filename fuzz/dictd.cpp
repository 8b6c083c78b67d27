// Any bytes, cut at the first NUL, as the index and the text of a dictd dictionary.
#include "data/corpus/parsers/dictd.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(bytes.find(char{0}), bytes.size());
  try {
    troupe::corpus::parse_dictd(bytes.substr(0, cut), bytes.substr(cut), [](const std::string&) {});
  } catch (const troupe::Error&) {
  }
  return 0;
}
