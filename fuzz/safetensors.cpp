// Any bytes as a safetensors file: every tensor lies inside the data and can be read, or the file is refused.
#include "io/safetensors.h"

#include <cstdint>
#include <cstdlib>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const SafetensorsFile file(std::span(data, size), "fuzz.safetensors");
    for (const TensorView& tensor : file.tensors())
      if (tensor.dtype <= DType::kBf16) file.read_f32(tensor.name);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
