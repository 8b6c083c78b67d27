// The parts of a Decoder: blocks made of parameters, and the memory of one pass. Included by decoder.cpp and by infer/,
// which runs the same blocks with a cache.
#pragma once

#include <variant>
#include <vector>

#include "model/decoder.h"
#include "model/decoder_parameters.h"
#include "nn/attention_block.h"
#include "nn/ffn_block.h"
#include "nn/moe/moe_block.h"

namespace troupe {

// One layer: attention, then either a dense FFN or experts.
template <class P>
struct DecoderLayer {
  using real = typename P::real;
  struct Activations {
    typename AttentionBlock<P>::Activations attention;
    typename FfnBlock<P>::Activations ffn;  // one of these two, or both where layers share
    typename MoeBlock<P>::Activations moe;

    void plan(Arena& arena, const ModelConfig& config, bool dense, bool sparse, int64_t T);
    auto& of(const FfnBlock<P>&) { return ffn; }
    auto& of(const MoeBlock<P>&) { return moe; }
  };

  AttentionBlock<P> attention;
  std::variant<FfnBlock<P>, MoeBlock<P>> feed_forward;

  DecoderLayer(const ModelConfig& config, int64_t layer, const LayerSlots& slots, const ParameterStore<real>& params);
};

// The blocks of a model by its configuration.
AttentionSpec attention_spec(const ModelConfig& config, int64_t layer);
FfnSpec ffn_spec(const ModelConfig& config, int64_t layer);
MoeSpec moe_spec(const ModelConfig& config, int64_t layer);
ScratchSpec scratch_spec(const ModelConfig& config);

// Which activations a pass keeps.
enum class Keep { kAll, kLayerInputs, kNothing };

template <class P>
struct Decoder<P>::State {
  using operand = typename P::operand;

  ModelConfig config;
  const ParameterStore<real>* params;
  DecoderSlots slots;
  DecoderOptions options;

  std::vector<DecoderLayer<P>> layers;
  NormLayer<P> final_norm;
  Linear<P> output;  // tied to the token embedding
  Buffer<real> sinusoids;
  int64_t num_sinusoids = 0;

  // Memory of a pass, planned for (B, S, keep).
  Arena arena;
  int64_t planned_B = 0, planned_S = 0;
  Keep planned_keep = Keep::kNothing;
  std::vector<Matrix<real>> stream;  // [2 l] input of layer l, [2 l + 1] after its attention, [2 L] after the last
  std::vector<typename DecoderLayer<P>::Activations> acts;
  typename NormLayer<P>::Activations final_acts;
  Scratch<P> scratch;
  Matrix<real> dx_TD;
  std::span<real> nll_T;

  // The batch at hand.
  SequenceShape shape;
  std::vector<int32_t> positions_T, targets_T;
  std::vector<uint8_t> valid_T;
  std::vector<RouterStats> stats;

  State(const ModelConfig& config, const ParameterStore<real>& params, DecoderOptions options);
  void plan(int64_t B, int64_t S, Keep keep);
  void read_batch(const Batch& batch);
  Matrix<const real> embedding() const {
    return {params->at(slots.embed_tokens).data(), config.vocab_size, config.d_model};
  }
  Matrix<const real> position_table(int64_t rows);

  typename DecoderLayer<P>::Activations& layer_acts(int64_t layer) {
    return acts[planned_keep == Keep::kAll ? static_cast<size_t>(layer) : 0];
  }
};

}  // namespace troupe
