#include "study/memory.h"

#include "model/decoder_parameters.h"
#include "model/decoder_state.h"

namespace troupe {
namespace {

// The layout of Decoder::State::plan, without parameters: sizes only, nothing is committed.
template <class P>
int64_t activation_bytes(const ModelConfig& config, int64_t T, bool recompute) {
  using real = typename P::real;
  const int64_t D = config.d_model, L = config.num_layers;
  Arena arena;
  arena.restart();
  const int64_t own_streams = recompute ? L + 1 : 2 * L + 1;
  if (recompute) arena.matrix<real>("stream.shared", T, D);
  for (int64_t i = 0; i < own_streams; ++i) arena.matrix<real>("stream", T, D);
  const int64_t kept_layers = recompute ? 1 : L;
  for (int64_t layer = 0; layer < kept_layers; ++layer) {
    typename DecoderLayer<P>::Activations acts;
    acts.plan(arena, config, recompute ? config.num_moe_layers() < L : !config.is_moe_layer(layer),
              recompute ? config.num_moe_layers() > 0 : config.is_moe_layer(layer), T);
  }
  typename NormLayer<P>::Activations final_acts;
  final_acts.plan(arena, T, D);
  Scratch<P> scratch;
  scratch.plan(arena, scratch_spec(config), T, true);
  arena.matrix<real>("dx", T, D);
  arena.span<real>("nll", T);
  return arena.bytes();
}

}  // namespace

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
  memory.activations = bf16 ? activation_bytes<Bf16>(config, T, false) : activation_bytes<F32>(config, T, false);
  memory.activations_recompute =
      bf16 ? activation_bytes<Bf16>(config, T, true) : activation_bytes<F32>(config, T, true);
  return memory;
}

}  // namespace troupe
