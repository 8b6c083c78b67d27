#include "study/memory.h"

#include "model/decoder_parameters.h"
#include "model/workspace.h"

namespace troupe {

MemoryEstimate estimate_memory(const ModelConfig& config, int64_t micro_batch, int64_t seq_len, Precision precision) {
  MemoryEstimate memory;
  const bool bf16 = precision == Precision::kBf16;
  const ParameterTable table = make_parameter_table(config);
  for (const ParameterFamily& family : table.families()) {
    const Parameter& parameter = family.pattern;
    const auto add = [&](MemoryPart& part, int64_t bytes_per_value) {
      part.total += bytes_per_value * family.size();
      if (parameter.role == Role::kExpert) part.experts += bytes_per_value * family.size();
    };
    add(memory.weights, 4);
    add(memory.gradients, 4);
    add(memory.optimizer, 8);
    const bool looked_up = parameter.name == "embed_positions.weight";
    const bool router = parameter.name.ends_with(".router.weight");  // stays float32
    if (bf16 && parameter.shape.size() == 2 && !looked_up && !router) add(memory.packed, 2 * 2);
  }
  const int64_t T = micro_batch * seq_len;
  const auto activations = [&](Keep keep) {
    return bf16 ? Workspace<Bf16>::bytes(config, T, keep) : Workspace<F32>::bytes(config, T, keep);
  };
  memory.activations = activations(Keep::kAll);
  memory.activations_recompute = activations(Keep::kLayerInputs);
  return memory;
}

}  // namespace troupe
