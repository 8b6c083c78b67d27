#include "model/decoder_parameters.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace troupe {
namespace {

Init constant(double value) { return {Init::kConstant, value, -1}; }
Init uniform(double bound) { return {Init::kUniform, bound, -1}; }

// nn.Linear's default, weight and bias alike: U(+-1/sqrt(fan_in)) (fairseq modules/transformer_layer.py:85-93).
Init linear_default(int64_t fan_in) { return uniform(1.0 / std::sqrt(static_cast<double>(fan_in))); }

// Xavier uniform: bound = gain * sqrt(6 / (fan_in + fan_out)) (fairseq modules/multihead_attention.py:98-108).
Init xavier(int64_t fan_in, int64_t fan_out, double gain) {
  return uniform(gain * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
}

NormSlots add_norm(ParameterTable& table, int64_t layer, const std::string& name, int64_t width) {
  return {
      .weight = table.add({.name = name + ".weight", .shape = {width}, .init = constant(1.0), .layer = layer}),
      .bias = table.add({.name = name + ".bias", .shape = {width}, .init = constant(0.0), .layer = layer}),
  };
}

LinearSlots add_linear(ParameterTable& table, int64_t layer, const std::string& name, int64_t out, int64_t in,
                       const Init& weight, const Init& bias) {
  return {
      .weight = table.add(
          {.name = name + ".weight", .shape = {out, in}, .init = weight, .layer = layer, .product = true}),
      .bias = table.add({.name = name + ".bias", .shape = {out}, .init = bias, .layer = layer}),
  };
}

// q, k and v are one [3D, D] product.
AttentionSlots add_attention(ParameterTable& table, int64_t layer, const std::string& prefix, int64_t D) {
  const auto qkv = [&](const char* kind, const Shape& shape, const Init& init) {
    std::vector<Parameter> three;
    for (const char* name : {"q_proj", "k_proj", "v_proj"})
      three.push_back({.name = fmt::format("{}.attn.{}.{}", prefix, name, kind),
                       .shape = shape,
                       .init = init,
                       .layer = layer,
                       .product = shape.size() == 2});
    return table.add(std::move(three));
  };
  return {
      .norm = add_norm(table, layer, prefix + ".attn_norm", D),
      .qkv_proj = {.weight = qkv("weight", {D, D}, xavier(D, D, 1.0 / std::sqrt(2.0))),
                   .bias = qkv("bias", {D}, linear_default(D))},
      .out_proj = add_linear(table, layer, prefix + ".attn.out_proj", D, D, xavier(D, D, 1.0), constant(0.0)),
  };
}

FfnSlots add_ffn(ParameterTable& table, int64_t layer, const std::string& prefix, int64_t D, int64_t F) {
  return {
      .norm = add_norm(table, layer, prefix + ".ffn_norm", D),
      .mlp = {.fc1 = add_linear(table, layer, prefix + ".ffn.fc1", F, D, linear_default(D), linear_default(D)),
              .fc2 = add_linear(table, layer, prefix + ".ffn.fc2", D, F, linear_default(F), linear_default(F))},
  };
}

// Experts of one kind lie back to back, so that grouped products see one [E, out, in] tensor.
MoeSlots add_moe(ParameterTable& table, int64_t layer, const std::string& prefix, int64_t E, int64_t D, int64_t F) {
  const auto experts = [&](const char* kind, const Shape& shape, const Init& init) {
    return table.add_experts({.name = fmt::format("{}.moe.experts.{{}}.{}", prefix, kind),
                              .shape = shape,
                              .init = init,
                              .layer = layer,
                              .product = shape.size() == 2},
                             E);
  };
  return {
      .norm = add_norm(table, layer, prefix + ".ffn_norm", D),
      .router = table.add(
          {.name = prefix + ".moe.router.weight", .shape = {E, D}, .init = linear_default(D), .layer = layer}),
      .mlp = {.fc1 = {.weight = experts("fc1.weight", {F, D}, linear_default(D)),
                      .bias = experts("fc1.bias", {F}, linear_default(D))},
              .fc2 = {.weight = experts("fc2.weight", {D, F}, linear_default(F)),
                      .bias = experts("fc2.bias", {D}, linear_default(F))}},
  };
}

}  // namespace

DecoderParameters make_decoder_parameters(const ModelConfig& config) {
  const int64_t D = config.d_model;
  DecoderParameters made;
  ParameterTable& table = made.table;
  DecoderSlots& slots = made.slots;
  const double embedding_std = 1.0 / std::sqrt(static_cast<double>(D));  // fairseq models/transformer.py:1132-1136
  slots.embed_tokens = table.add({.name = "embed_tokens.weight",
                                  .shape = {config.vocab_size, D},
                                  .init = {Init::kNormal, embedding_std, config.pad_id}});
  if (config.positions == Positions::kLearned)
    slots.embed_positions = table.add({.name = "embed_positions.weight",
                                       .shape = {num_position_rows(config), D},
                                       .init = {Init::kNormal, embedding_std, kPadPosition}});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = fmt::format("layers.{}", layer);
    LayerSlots& of_layer = slots.layers.emplace_back();
    of_layer.attention = add_attention(table, layer, prefix, D);
    if (config.is_moe_layer(layer))
      of_layer.feed_forward = add_moe(table, layer, prefix, config.moe.num_experts, D, config.expert_d_ff());
    else
      of_layer.feed_forward = add_ffn(table, layer, prefix, D, config.d_ff);
  }
  slots.final_norm = add_norm(table, -1, "final_norm", D);
  return made;
}

int64_t num_active_parameters(const ModelConfig& config) {
  const ParameterTable table = make_parameter_table(config);
  int64_t active = 0;
  for (const ParameterFamily& family : table.families()) {
    const bool experts = family.pattern.role == Role::kExpert;
    active += family.pattern.size() * (experts ? std::min(family.count(), config.moe.top_k) : family.count());
  }
  return active;
}

}  // namespace troupe
