// dict.txt: any bytes give a dictionary or one kData error; every symbol has its id.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "data/fairseq/dictionary.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const auto dictionary = FairseqDictionary::parse({reinterpret_cast<const char*>(data), size}, "dict.txt");
    for (const std::string& symbol : dictionary.symbols())
      if (dictionary.id(symbol) == FairseqDictionary::kUnknown) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
