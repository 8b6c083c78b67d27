// Any bytes as the adapter_config.json of an adapter whose tensors are there: read, or refused.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "fuzz_folder.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"
#include "model/hf/peft.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  const ModelConfig config{.num_layers = 1, .d_model = 8, .num_heads = 1, .d_ff = 8, .vocab_size = 8, .context = 8};
  static const fuzz::Folder folder;
  [[maybe_unused]] static const bool has_tensors = [] {
    const std::vector<float> ones(16, 1.0f);
    write_file_atomically(folder.path() / "adapter_model.safetensors", [&](FileWriter& file) {
      write_safetensors(file,
                        {{"base_model.model.layers.0.attn.q_proj.lora_A.weight", DType::kF32, {2, 8}, ones.data()},
                         {"base_model.model.layers.0.attn.q_proj.lora_B.weight", DType::kF32, {8, 2}, ones.data()}});
    });
    return true;
  }();
  folder.write("adapter_config.json", data, size);
  try {
    PeftAdapter(folder.path(), config, nullptr);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
