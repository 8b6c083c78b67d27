#include "model/decoder_weights.h"

#include <cmath>

#include "base/error.h"
#include "dist/communicator.h"

namespace troupe {
namespace {

Activation activation_of(const ModelConfig& config) {
  switch (config.activation) {
    case FfnActivation::kRelu:
      return Activation::kRelu;
    case FfnActivation::kSilu:
      return Activation::kSilu;
    case FfnActivation::kRelu2:
      return Activation::kRelu2;
    case FfnActivation::kGelu:
      break;
  }
  return config.gelu == Gelu::kErf ? Activation::kGeluErf : Activation::kGeluTanh;
}

MlpSpec mlp_spec(const ModelConfig& config, int64_t num_experts, int64_t d_ff) {
  return {.num_experts = num_experts,
          .d_model = config.d_model,
          .d_ff = d_ff,
          .activation = activation_of(config),
          .gated = config.ffn_gated};
}

SublayerSpec sublayer_spec(const ModelConfig& config) {
  return {.norm = norm_spec(config),
          .place = config.norm_place,
          .multiplier = config.residual_multiplier,
          .dropout = config.dropout};
}

// Of the slots of all experts, those of this rank's.
MoeSlots own_experts(MoeSlots slots, const ModelConfig& config, Communicator* ranks) {
  if (!ranks) return slots;
  const int64_t E = config.moe.num_experts;
  const Share own = experts_of(E, ranks->rank(), ranks->size());
  for (LinearSlots* map : {&slots.mlp.fc1, &slots.mlp.fc2})
    for (Slot* slot : {&map->weight, &map->bias}) {
      const int64_t parts = (slot->end - slot->begin) / E;
      *slot = {slot->begin + own.begin * parts, slot->begin + own.end * parts};
    }
  return slots;
}

template <class P>
DecoderLayer<P> make_layer(const ModelConfig& config, int64_t layer, const LayerSlots& slots,
                           const ParameterStore<typename P::real>& params, Communicator* ranks) {
  AttentionBlock<P> attention(attention_spec(config, layer), slots.attention, params);
  if (const auto* experts = std::get_if<MoeSlots>(&slots.feed_forward))
    return {std::move(attention), MoeBlock<P>(moe_spec(config, layer, ranks), own_experts(*experts, config, ranks), params)};
  return {std::move(attention), FfnBlock<P>(ffn_spec(config, layer), std::get<FfnSlots>(slots.feed_forward), params)};
}

}  // namespace

NormSpec norm_spec(const ModelConfig& config) {
  return {.kind = config.norm, .epsilon = config.norm_epsilon, .width = config.d_model};
}

AttentionSpec attention_spec(const ModelConfig& config, int64_t layer) {
  const int64_t C = config.head_width();
  const double scale =
      config.attention_multiplier > 0 ? config.attention_multiplier : 1.0 / std::sqrt(static_cast<double>(C));
  return {.layer = layer,
          .d_model = config.d_model,
          .heads = {.H = config.num_heads,
                    .G = config.num_kv_heads(),
                    .C = C,
                    .scale = scale,
                    .window = config.window_of(layer)},
          .rotary_width = config.rotary_width(),
          .qk_norm = config.qk_norm,
          .norm_epsilon = config.norm_epsilon,
          .sublayer = sublayer_spec(config),
          .weight_dropout = config.attention_dropout};
}

FfnSpec ffn_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer, .mlp = mlp_spec(config, 1, config.d_ff), .sublayer = sublayer_spec(config)};
}

MoeSpec moe_spec(const ModelConfig& config, int64_t layer, Communicator* ranks) {
  const int64_t E = config.moe.num_experts;
  return {.layer = layer,
          .mlp = mlp_spec(config, ranks ? experts_of(E, ranks->rank(), ranks->size()).size() : E, config.expert_d_ff()),
          .shared = mlp_spec(config, 1, config.moe.shared_d_ff),
          .sublayer = sublayer_spec(config),
          .routing = config.moe,
          .ranks = ranks};
}

template <class P>
DecoderWeights<P>::DecoderWeights(const ModelConfig& config, const ParameterStore<real>& params, Communicator* ranks)
    : config(config), params(&params) {
  DecoderParameters made = make_decoder_parameters(config);
  if (params.table().num_entries() != made.table.num_entries())
    fail(ErrorCode::kInternal, "decoder: expected parameters of its configuration, got those of another");
  slots = std::move(made.slots);
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    layers.push_back(make_layer<P>(config, layer, slots.layers[static_cast<size_t>(layer)], params, ranks));
  final_norm = NormLayer<P>(norm_spec(config), slots.final_norm, params);
  output = Linear<P>(params, {.weight = slots.output, .bias = slots.output_bias}, 1, config.vocab_size, config.d_model);
}

template <class P>
double DecoderWeights<P>::embedding_scale() const {
  return config.embedding_multiplier *
         (config.scale_embedding ? std::sqrt(static_cast<double>(config.d_model)) : 1.0);
}

template struct DecoderWeights<F64>;
template struct DecoderWeights<F32>;
template struct DecoderWeights<Bf16>;

}  // namespace troupe
