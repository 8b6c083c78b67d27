// A decoder's parameters as blocks: what a pass reads and does not change, so several workspaces may share it.
#pragma once

#include <variant>
#include <vector>

#include "model/decoder_parameters.h"
#include "nn/attention_block.h"
#include "nn/ffn_block.h"
#include "nn/moe/moe_block.h"
#include "troupe/config.h"

namespace troupe {

// The blocks of a layer by the model's configuration: sizes and choices.
NormSpec norm_spec(const ModelConfig& config);
AttentionSpec attention_spec(const ModelConfig& config, int64_t layer);
FfnSpec ffn_spec(const ModelConfig& config, int64_t layer);
MoeSpec moe_spec(const ModelConfig& config, int64_t layer, Communicator* ranks = nullptr);

// One layer: attention, then either a dense FFN or experts.
template <class P>
struct DecoderLayer {
  AttentionBlock<P> attention;
  std::variant<FfnBlock<P>, MoeBlock<P>> feed_forward;
};

template <class P>
struct DecoderWeights {
  using real = typename P::real;

  ModelConfig config;
  const ParameterStore<real>* params;
  DecoderSlots slots;
  std::vector<DecoderLayer<P>> layers;
  NormLayer<P> final_norm;
  Linear<P> output;  // often tied to the token embedding

  // `params` has the table of make_parameter_table(config) and must outlive the weights.
  DecoderWeights(const ModelConfig& config, const ParameterStore<real>& params, Communicator* ranks = nullptr);

  Matrix<const real> embedding() const {
    return {params->at(slots.embed_tokens).data(), config.vocab_size, config.d_model};
  }
  double embedding_scale() const;

  // Calls f with every map whose weights are read by products alone. (A tied output layer's are looked up, too.)
  template <class F>
  void each_map(const F& f) {
    for (DecoderLayer<P>& layer : layers) {
      layer.attention.each_map(f);
      std::visit([&](auto& block) { block.each_map(f); }, layer.feed_forward);
    }
    if (!config.tied_output) f(output);
  }
  // And with those of routers.
  template <class F>
  void each_linear(const F& f) {
    each_map(f);
    for (DecoderLayer<P>& layer : layers)
      if (auto* const block = std::get_if<MoeBlock<P>>(&layer.feed_forward)) block->with_router(f);
  }
};

extern template struct DecoderWeights<F64>;
extern template struct DecoderWeights<F32>;
extern template struct DecoderWeights<Bf16>;

}  // namespace troupe
