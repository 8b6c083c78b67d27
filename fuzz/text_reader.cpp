// Any bytes as plain text and as JSON lines: documents that are valid UTF-8, or counted skips.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "data/text/byte_source.h"
#include "data/text/reader.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  troupe::TextOptions options;
  options.on_bad = troupe::OnBad::kSkip;
  options.max_document_bytes = 200;
  options.meta_field = size % 2 ? "meta.set" : "";
  for (const auto format : {troupe::TextFormat::kText, troupe::TextFormat::kJsonl}) {
    const auto source = troupe::memory_source(bytes);
    troupe::TextStats stats;
    troupe::read_documents(
        *source, "memory", format, options,
        [](troupe::Document&& document) {
          if (document.text.empty() || troupe::find_invalid_utf8(document.text)) __builtin_trap();
        },
        stats);
    if (stats.report().empty()) __builtin_trap();
  }
  return 0;
}
