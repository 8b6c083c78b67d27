// Any bytes as a tokenizer_config.json: the names of its tokens are texts, or it is refused with a troupe::Error.
#include "data/tokenizer/tokenizer_config.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    if (parse_tokenizer_config(text, "tokenizer_config.json").json != text) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
