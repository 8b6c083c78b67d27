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

void add_norm(ParameterTable& table, const std::string& name, int64_t width) {
  table.align();
  table.add(name + ".weight", {width}, constant(1.0));
  table.align();
  table.add(name + ".bias", {width}, constant(0.0));
}

void add_attention(ParameterTable& table, const std::string& prefix, int64_t D) {
  table.align();
  for (const char* name : {"q_proj", "k_proj", "v_proj"})
    table.add(fmt::format("{}.{}.weight", prefix, name), {D, D}, xavier(D, D, 1.0 / std::sqrt(2.0)));
  table.align();
  for (const char* name : {"q_proj", "k_proj", "v_proj"})
    table.add(fmt::format("{}.{}.bias", prefix, name), {D}, linear_default(D));
  table.align();
  table.add(prefix + ".out_proj.weight", {D, D}, xavier(D, D, 1.0));
  table.align();
  table.add(prefix + ".out_proj.bias", {D}, constant(0.0));
}

void add_ffn(ParameterTable& table, const std::string& prefix, int64_t D, int64_t F) {
  table.align();
  table.add(prefix + ".fc1.weight", {F, D}, linear_default(D));
  table.align();
  table.add(prefix + ".fc1.bias", {F}, linear_default(D));
  table.align();
  table.add(prefix + ".fc2.weight", {D, F}, linear_default(F));
  table.align();
  table.add(prefix + ".fc2.bias", {D}, linear_default(F));
}

// Experts of one kind lie back to back, so that grouped products see one [E, out, in] tensor.
void add_experts(ParameterTable& table, const std::string& prefix, int64_t E, int64_t D, int64_t F) {
  const auto add_all = [&](const char* kind, const Shape& shape, const Init& init) {
    table.align();
    for (int64_t e = 0; e < E; ++e) table.add(fmt::format("{}.experts.{}.{}", prefix, e, kind), shape, init, true);
  };
  add_all("fc1.weight", {F, D}, linear_default(D));
  add_all("fc1.bias", {F}, linear_default(D));
  add_all("fc2.weight", {D, F}, linear_default(F));
  add_all("fc2.bias", {D}, linear_default(F));
}

}  // namespace

ParameterTable make_parameter_table(const ModelConfig& config) {
  const int64_t D = config.d_model;
  ParameterTable table;
  const double embedding_std = 1.0 / std::sqrt(static_cast<double>(D));  // fairseq models/transformer.py:1132-1136
  table.add("embed_tokens.weight", {config.vocab_size, D}, {Init::kNormal, embedding_std, config.pad_id});
  if (config.positions == Positions::kLearned) {
    table.align();
    table.add("embed_positions.weight", {config.context + 2, D}, {Init::kNormal, embedding_std, 1});
  }
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = fmt::format("layers.{}", layer);
    add_norm(table, prefix + ".attn_norm", D);
    add_attention(table, prefix + ".attn", D);
    add_norm(table, prefix + ".ffn_norm", D);
    if (config.is_moe_layer(layer)) {
      table.align();
      table.add(prefix + ".moe.router.weight", {config.moe.num_experts, D}, linear_default(D));
      add_experts(table, prefix + ".moe", config.moe.num_experts, D, config.expert_d_ff());
    } else {
      add_ffn(table, prefix + ".ffn", D, config.d_ff);
    }
  }
  add_norm(table, "final_norm", D);
  table.align();
  return table;
}

int64_t num_active_parameters(const ModelConfig& config) {
  const int64_t D = config.d_model, F = config.expert_d_ff();
  const int64_t one_expert = 2 * D * F + F + D;
  const int64_t idle = std::max<int64_t>(0, config.moe.num_experts - config.moe.top_k);
  return make_parameter_table(config).num_parameters() - config.num_moe_layers() * idle * one_expert;
}

}  // namespace troupe
