// Any bytes as a pickle: a graph of values that can be looked at, or one kData error.
#include "io/pickle.h"

#include <cstdint>
#include <cstdlib>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const Pickle pickle(std::span(data, size), "fuzz.pkl");
    int64_t looked_up = 0;
    for (const auto& [key, value] : pickle.pairs(pickle.root()))
      if (++looked_up < 100) pickle.find(*value, key->text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
