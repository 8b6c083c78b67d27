// Any bytes as a torch checkpoint: its tensors can be read, or one kData error.
#include "io/torch_file.h"

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const TorchFile file(std::span(data, size), "fuzz.pt");
    const PickleValue* model = file.pickle().find(file.pickle().root(), "model");
    if (!model) return 0;
    for (const auto& [key, value] : file.pickle().pairs(*model)) {
      const TorchTensor tensor = file.tensor(key->text, *value);
      const int64_t count = num_elements(tensor.shape);
      if (count > 1 << 20 || tensor.dtype > DType::kBf16) continue;  // strides of 0 make any size legal
      std::vector<float> out(static_cast<size_t>(count));
      file.read_f32(tensor, out);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
