// Any bytes as a tokenizer.json: loaded, saved, loaded again and used, or refused with a troupe::Error.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "data/tokenizer/definition.h"
#include "data/tokenizer/tokenizer.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const troupe::Tokenizer tokenizer(troupe::parse_tokenizer_json(text, "fuzz"));
    const std::string saved = troupe::tokenizer_json(tokenizer.definition());
    const troupe::Tokenizer again(troupe::parse_tokenizer_json(saved, "saved"));
    const std::vector<int32_t> ids = tokenizer.encode(text);
    if (ids != again.encode(text) || tokenizer.prefix() != again.prefix()) std::abort();
    if (tokenizer.decode(ids) != again.decode(ids)) std::abort();
  } catch (const troupe::Error&) {
  }
  return 0;
}
