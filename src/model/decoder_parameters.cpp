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

// Adds the parameters of one layer, or (layer -1) of none.
class Maker {
 public:
  Maker(ParameterTable& table, const ModelConfig& config, int64_t layer)
      : table_(table), config_(config), layer_(layer), prefix_(layer < 0 ? "" : fmt::format("layers.{}.", layer)) {}

  NormSlots norm(const std::string& name) const {
    NormSlots slots{.weight = vector(name + ".weight", config_.d_model, constant(1.0)), .bias = {}};
    if (config_.norm == Norm::kLayer && config_.norm_bias)
      slots.bias = vector(name + ".bias", config_.d_model, constant(0.0));
    return slots;
  }

  // q, k and v are one product.
  AttentionSlots attention() const {
    const int64_t D = config_.d_model, q = config_.query_width(), kv = config_.kv_width();
    const auto qkv = [&](const char* kind, const auto& shape, const auto& init) {
      std::vector<Parameter> three;
      for (const auto& [name, rows] : {std::pair{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}})
        three.push_back(parameter(fmt::format("attn.{}.{}", name, kind), shape(rows), init(rows)));
      return table_.add(std::move(three));
    };
    AttentionSlots slots;
    slots.norm = norm("attn_norm");
    slots.qkv_proj.weight = qkv(
        "weight", [&](int64_t rows) { return Shape{rows, D}; },
        [&](int64_t rows) { return xavier(rows, D, 1.0 / std::sqrt(2.0)); });
    if (config_.qkv_bias)
      slots.qkv_proj.bias = qkv(
          "bias", [](int64_t rows) { return Shape{rows}; }, [&](int64_t) { return linear_default(D); });
    if (config_.qk_norm != QkNorm::kNone) {
      const bool whole = config_.qk_norm == QkNorm::kWhole;
      slots.q_norm = vector("attn.q_norm.weight", whole ? q : config_.head_width(), constant(1.0));
      slots.k_norm = vector("attn.k_norm.weight", whole ? kv : config_.head_width(), constant(1.0));
    }
    slots.out_proj = linear("attn.out_proj", D, q, xavier(D, q, 1.0), constant(0.0), config_.out_bias);
    return slots;
  }

  // Of a layer whose attention has `attention`.
  FfnSlots ffn(const AttentionSlots& attention) const {
    FfnSlots slots;
    slots.norm = ffn_norm(attention);
    slots.mlp = mlp("ffn", config_.d_ff);
    return slots;
  }

  // Experts of one kind lie back to back, so that grouped products see one [E, out, in] tensor.
  MoeSlots moe(const AttentionSlots& attention) const {
    const int64_t E = config_.moe.num_experts, D = config_.d_model, F = config_.expert_d_ff();
    const auto experts = [&](const char* kind, const Shape& shape, const Init& init) {
      return table_.add_experts(parameter(fmt::format("moe.experts.{{}}.{}", kind), shape, init), E);
    };
    MoeSlots slots;
    slots.norm = ffn_norm(attention);
    if (config_.moe.has_router()) {
      Parameter router = parameter("moe.router.weight", {E, D}, linear_default(D));
      router.product = false;  // multiplies in real
      slots.router = table_.add(std::move(router));
    }
    if (config_.moe.balance_bias) {
      Parameter bias = parameter("moe.router.bias", {E}, constant(0.0));
      bias.role = Role::kState;
      slots.router_bias = table_.add(std::move(bias));
    }
    slots.mlp.fc1.weight = experts("fc1.weight", {fc1_rows(F), D}, linear_default(D));
    if (config_.ffn_bias) slots.mlp.fc1.bias = experts("fc1.bias", {fc1_rows(F)}, linear_default(D));
    slots.mlp.fc2.weight = experts("fc2.weight", {D, F}, linear_default(F));
    if (config_.ffn_bias) slots.mlp.fc2.bias = experts("fc2.bias", {D}, linear_default(F));
    if (config_.moe.shared_d_ff > 0) slots.shared = mlp("moe.shared", config_.moe.shared_d_ff);
    if (config_.moe.shared_gate) {
      Parameter gate = parameter("moe.shared_gate.weight", {1, D}, linear_default(D));
      gate.product = false;  // multiplies in real
      slots.shared_gate = table_.add(std::move(gate));
    }
    return slots;
  }

 private:
  NormSlots ffn_norm(const AttentionSlots& attention) const {
    return config_.shared_norm ? attention.norm : norm("ffn_norm");
  }
  int64_t fc1_rows(int64_t F) const { return config_.ffn_gated ? 2 * F : F; }
  // A matrix is read by products alone. `init` is fairseq's.
  Parameter parameter(const std::string& name, const Shape& shape, const Init& init) const {
    return {.name = prefix_ + name,
            .shape = shape,
            .init = initial(name, shape, init),
            .layer = layer_,
            .product = shape.size() == 2,
            .stacked = config_.ffn_gated && name.ends_with("fc1.weight") ? 2 : 1};
  }
  Init initial(const std::string& name, const Shape& shape, const Init& init) const {
    const bool last = name.find("out_proj.") != name.npos || name.find("fc2.") != name.npos;
    if (config_.init.zero_outputs && last) return constant(0.0);
    if (config_.init.kind == InitKind::kFairseq || init.kind == Init::kConstant) return init;
    return shape.size() == 2 ? Init{Init::kNormal, config_.init.std, -1} : constant(0.0);
  }
  Slot vector(const std::string& name, int64_t width, const Init& init) const {
    return table_.add(parameter(name, {width}, init));
  }
  LinearSlots linear(const std::string& name, int64_t out, int64_t in, const Init& weight, const Init& bias,
                     bool has_bias) const {
    LinearSlots slots;
    slots.weight = table_.add(parameter(name + ".weight", {out, in}, weight));
    if (has_bias) slots.bias = vector(name + ".bias", out, bias);
    return slots;
  }
  MlpSlots mlp(const std::string& name, int64_t F) const {
    const int64_t D = config_.d_model;
    MlpSlots slots;
    slots.fc1 = linear(name + ".fc1", fc1_rows(F), D, linear_default(D), linear_default(D), config_.ffn_bias);
    slots.fc2 = linear(name + ".fc2", D, F, linear_default(F), linear_default(F), config_.ffn_bias);
    return slots;
  }

  ParameterTable& table_;
  const ModelConfig& config_;
  int64_t layer_;
  std::string prefix_;
};

}  // namespace

DecoderParameters make_decoder_parameters(const ModelConfig& config) {
  const int64_t D = config.d_model;
  DecoderParameters made;
  ParameterTable& table = made.table;
  DecoderSlots& slots = made.slots;
  const double embedding_std =  // fairseq models/transformer.py:1132-1136
      config.init.embedding_std > 0.0 ? config.init.embedding_std : 1.0 / std::sqrt(static_cast<double>(D));
  slots.embed_tokens = table.add({.name = "embed_tokens.weight",
                                  .shape = {config.vocab_size, D},
                                  .init = {Init::kNormal, embedding_std, config.pad_id}});
  if (config.positions == Positions::kLearned)
    slots.embed_positions = table.add({.name = "embed_positions.weight",
                                       .shape = {num_position_rows(config), D},
                                       .init = {Init::kNormal, embedding_std, kPadPosition}});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const Maker make(table, config, layer);
    LayerSlots& of_layer = slots.layers.emplace_back();
    of_layer.attention = make.attention();
    if (config.is_moe_layer(layer))
      of_layer.feed_forward = make.moe(of_layer.attention);
    else
      of_layer.feed_forward = make.ffn(of_layer.attention);
  }
  slots.final_norm = Maker(table, config, -1).norm("final_norm");
  slots.output = slots.embed_tokens;
  if (!config.tied_output)
    slots.output = table.add({.name = "output.weight",
                              .shape = {config.vocab_size, D},
                              .init = {Init::kNormal, embedding_std, config.pad_id},
                              .product = true});
  if (config.output_bias)
    slots.output_bias = table.add({.name = "output.bias", .shape = {config.vocab_size}, .init = constant(0.0)});
  return made;
}

bool is_router(const Parameter& parameter) { return parameter.name.find(".moe.router.") != parameter.name.npos; }

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
