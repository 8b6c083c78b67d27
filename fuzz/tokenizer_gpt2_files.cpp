// Any bytes as GPT-2's two files, cut at the first NUL: read, or refused with a troupe::Error.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "data/tokenizer/definition.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(text.find('\0'), size);
  try {
    troupe::parse_gpt2_files(text.substr(0, cut), "vocab", text.substr(std::min(cut + 1, size)), "merges");
  } catch (const troupe::Error&) {
  }
  return 0;
}
