#include "model/decoder_weights.h"

#include <cmath>

#include "base/error.h"

namespace troupe {
namespace {

MlpSpec mlp_spec(const ModelConfig& config, int64_t num_experts, int64_t d_ff) {
  return {.num_experts = num_experts,
          .d_model = config.d_model,
          .d_ff = d_ff,
          .activation = config.gelu == Gelu::kErf ? Activation::kGeluErf : Activation::kGeluTanh};
}

template <class P>
DecoderLayer<P> make_layer(const ModelConfig& config, int64_t layer, const LayerSlots& slots,
                           const ParameterStore<typename P::real>& params) {
  AttentionBlock<P> attention(attention_spec(config, layer), slots.attention, params);
  if (const auto* experts = std::get_if<MoeSlots>(&slots.feed_forward))
    return {std::move(attention), MoeBlock<P>(moe_spec(config, layer), *experts, params)};
  return {std::move(attention), FfnBlock<P>(ffn_spec(config, layer), std::get<FfnSlots>(slots.feed_forward), params)};
}

}  // namespace

AttentionSpec attention_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer,
          .d_model = config.d_model,
          .num_heads = config.num_heads,
          .dropout = config.dropout,
          .weight_dropout = config.attention_dropout};
}

FfnSpec ffn_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer, .mlp = mlp_spec(config, 1, config.d_ff), .dropout = config.dropout};
}

MoeSpec moe_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer,
          .mlp = mlp_spec(config, config.moe.num_experts, config.expert_d_ff()),
          .dropout = config.dropout,
          .routing = config.moe};
}

template <class P>
DecoderWeights<P>::DecoderWeights(const ModelConfig& config, const ParameterStore<real>& params)
    : config(config), params(&params) {
  DecoderParameters made = make_decoder_parameters(config);
  if (params.table().num_entries() != made.table.num_entries())
    fail(ErrorCode::kInternal, "decoder: expected parameters of its configuration, got those of another");
  slots = std::move(made.slots);
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    layers.push_back(make_layer<P>(config, layer, slots.layers[static_cast<size_t>(layer)], params));
  final_norm = NormLayer<P>(params, slots.final_norm);
  output = Linear<P>(params, {.weight = slots.embed_tokens}, 1, config.vocab_size, config.d_model);
}

template <class P>
double DecoderWeights<P>::embedding_scale() const {
  return config.scale_embedding ? std::sqrt(static_cast<double>(config.d_model)) : 1.0;
}

template struct DecoderWeights<F64>;
template struct DecoderWeights<F32>;
template struct DecoderWeights<Bf16>;

}  // namespace troupe
