// Any bytes as wiki markup, and as a dump of pages.
#include <cstdint>
#include <string>
#include <string_view>

#include "data/corpus/released/wikitext.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)troupe::corpus::wikitext_to_text(bytes);
  try {
    const auto source = troupe::memory_source(bytes);
    troupe::corpus::read_wikipedia(*source, [](const std::string&, const std::string&) {});
  } catch (const troupe::Error&) {
  }
  return 0;
}
