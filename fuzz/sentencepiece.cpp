// Any bytes as a SentencePiece model: one that is read tokenises and writes itself as a tokenizer.json that is the same.
#include "data/tokenizer/sentencepiece.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "data/tokenizer/tokenizer.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer(parse_sentencepiece(bytes, "fuzz.model"), "fuzz.model");
    const Tokenizer again(parse_tokenizer_json(tokenizer_json(tokenizer.definition()), "fuzz.json"), "fuzz.json");
    if (again.encode(bytes) != tokenizer.encode(bytes)) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
