// Any bytes as a GGUF file: every tensor lies inside the data and can be read, and so can the model's facts and its
// tokenizer, or they are refused.
#include "io/gguf.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "data/tokenizer/gguf_tokenizer.h"
#include "data/tokenizer/tokenizer.h"
#include "model/gguf/gguf_families.h"
#include "model/hf/hf_model.h"
#include "tensor/shape.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const GgufFile file(std::span(data, size), "fuzz.gguf");
    for (const GgufTensor& tensor : file.tensors()) {
      std::vector<float> values(static_cast<size_t>(num_elements(tensor.shape)));
      dequantize(tensor.type, tensor.bytes, values);
    }
    try {
      HfConfig hf(hf_settings(file, gguf_family(file)), "fuzz.gguf");
      hf_facts(hf);
    } catch (const Error& error) {  // a file may hold a tokenizer alone
      if (error.code() != ErrorCode::kData) std::abort();
    }
    const Tokenizer tokenizer(read_gguf_tokenizer(file), "fuzz.gguf");
    tokenizer.decode(tokenizer.encode(std::string_view(reinterpret_cast<const char*>(data), size)));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
