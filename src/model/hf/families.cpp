#include "model/hf/families.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "io/json_config.h"
#include "model/hf/rope_settings.h"
#include "model/hf/shared_settings.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;
using namespace shared_settings;

// --- Dense families ---

void llama(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 2048);
  heads(hf, c);
  rope_settings(hf, c);
  attention_bias(hf, c);
  hf("mlp_bias", c.ffn_bias, false);
  no_window(hf, c);
}

void mistral(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 4096 * 32);
  heads(hf, c, 8);
  rope_settings(hf, c);
  window_of_all(hf, c, 4096);
}

void qwen2(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 32768);
  heads(hf, c, 32);
  if (!hf.writes()) c.qkv_bias = true;
  rope_settings(hf, c);
  window_from_a_layer(hf, c);
}

void qwen3(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 32768);
  heads(hf, c, 32, 128);
  rope_settings(hf, c);
  attention_bias(hf, c);
  window_from_a_layer(hf, c);
  if (!hf.writes()) c.qk_norm = QkNorm::kHead;
}

void olmo2(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-5, 2048);
  heads(hf, c);
  rope_settings(hf, c);
  attention_bias(hf, c);
  if (!hf.writes()) c.qk_norm = QkNorm::kWhole, c.norm_place = NormPlace::kAfter;
  no_window(hf, c);
}

void gpt2(HfConfig& hf, ModelConfig& c) {
  sizes(hf, c, "n_embd", "n_layer", "n_head");
  hf("n_positions", c.context, 1024);
  hf("n_inner", c.d_ff, 4 * c.d_model);
  hf("layer_norm_epsilon", c.norm_epsilon, 1e-5);
  hf.activation("activation_function", c, "gelu_new");
  hf("tie_word_embeddings", c.tied_output, true);
  hf("embd_pdrop", c.dropout, 0.1);
  hf("resid_pdrop", c.dropout, 0.1);
  hf("attn_pdrop", c.attention_dropout, 0.1);
  bool scaled = c.attention_multiplier != 1.0;
  hf("scale_attn_weights", scaled, true);
  hf.require("scale_attn_by_inverse_layer_idx", false, "scale of attention by layer");
  end_of_text(hf, c);
  if (hf.writes()) return;
  c.positions = Positions::kLearned, c.scale_embedding = false;
  if (!scaled) c.attention_multiplier = 1.0;
}

void opt(HfConfig& hf, ModelConfig& c) {
  sizes(hf, c);
  hf("ffn_dim", c.d_ff);
  hf("max_position_embeddings", c.context, 2048);
  hf.activation("activation_function", c, "relu");
  hf("tie_word_embeddings", c.tied_output, true);
  hf("dropout", c.dropout, 0.1);
  hf("attention_dropout", c.attention_dropout, 0.0);
  hf("enable_bias", c.qkv_bias, true);
  hf.require("do_layer_norm_before", true, "norm of x + f(x)");
  hf.require("_remove_final_layer_norm", false, "model without a final norm");
  hf.require("layer_norm_elementwise_affine", true, "norm without weights");
  hf.require("word_embed_proj_dim", c.d_model, "embedding of another width than the layers");
  end_of_text(hf, c);
  fairseq_padding(hf, c);
  if (hf.writes()) return;
  c.positions = Positions::kLearned, c.scale_embedding = false, c.out_bias = c.ffn_bias = c.qkv_bias;
}

void xglm(HfConfig& hf, ModelConfig& c) {
  sizes(hf, c, "d_model", "num_layers", "attention_heads");
  hf("ffn_dim", c.d_ff);
  hf("max_position_embeddings", c.context, 2048);
  hf.activation("activation_function", c, "gelu");
  hf("tie_word_embeddings", c.tied_output, true);
  hf("dropout", c.dropout, 0.1);
  hf("attention_dropout", c.attention_dropout, 0.1);
  hf("scale_embedding", c.scale_embedding, true);
  end_of_text(hf, c);
  fairseq_padding(hf, c);
}

// The study's mixtures, which transformers has no class for: xglm with the table [model.moe] as it is.
void xglm_moe(HfConfig& hf, ModelConfig& c) {
  xglm(hf, c);
  if (hf.writes()) return hf.set("moe", to_json(fields_of(std::as_const(c.moe))));
  const ordered_json& table = hf.at("moe");
  if (!table.is_object()) hf.refuse("moe", "an object", table);
  c.moe = MoeConfig();
  FieldList fields = fields_of(c.moe);
  from_json(table, hf.where() + ": moe", fields);
}

// What GPT-NeoX and Phi share.
void neox_like(HfConfig& hf, ModelConfig& c, const char* usual_activation) {
  sizes(hf, c);
  hf("intermediate_size", c.d_ff);
  hf("max_position_embeddings", c.context, 2048);
  hf("layer_norm_eps", c.norm_epsilon, 1e-5);
  hf.activation("hidden_act", c, usual_activation);
  hf("tie_word_embeddings", c.tied_output, false);
}

void gpt_neox(HfConfig& hf, ModelConfig& c) {
  neox_like(hf, c, "gelu");
  hf("hidden_dropout", c.dropout, 0.0);
  hf("attention_dropout", c.attention_dropout, 0.0);
  hf("attention_bias", c.qkv_bias, true);
  hf("use_parallel_residual", c.parallel_block, true);
  rope_settings(hf, c, 10000.0, 0.25, "rotary_emb_base", "rotary_pct");
  end_of_text(hf, c);
  if (!hf.writes()) c.scale_embedding = false, c.out_bias = c.qkv_bias;
}

// One norm, of both parallel blocks, and a bias of the logits.
void phi(HfConfig& hf, ModelConfig& c) {
  neox_like(hf, c, "gelu_new");
  hf("embd_pdrop", c.dropout, 0.0);
  hf("resid_pdrop", c.dropout, 0.0);
  hf("attention_dropout", c.attention_dropout, 0.0);
  heads(hf, c);
  hf.require("qk_layernorm", false, "LayerNorm of queries and keys");
  rope_settings(hf, c, 10000.0, 0.5);
  end_of_text(hf, c);
  if (!hf.writes()) c.scale_embedding = false, c.parallel_block = c.shared_norm = c.output_bias = true;
}

// --- Mixtures of experts: dropless, chosen by a softmax over all experts. Softmax over the chosen ones alone (Granite) is
// --- the same as dividing their probabilities by their sum. ---

void experts(HfConfig& hf, ModelConfig& c, const char* count_key, int64_t usual_top_k, double usual_aux) {
  if (!hf.writes()) {
    c.moe = MoeConfig();
    c.moe.every = 1, c.moe.normalize = Normalize::kBeforeDropping;
  }
  hf(count_key, c.moe.num_experts);
  hf("num_experts_per_tok", c.moe.top_k, usual_top_k);
  hf("router_aux_loss_coef", c.moe.aux_loss_weight, usual_aux);
}

// num_experts in releases before 5 is num_local_experts in some of them.
const char* count_key(const HfConfig& hf, const char* key, const char* other) {
  return hf.object().contains(other) && !hf.object().contains(key) ? other : key;
}

void normalisation(HfConfig& hf, ModelConfig& c) {
  bool normalised = c.moe.normalize != Normalize::kNever;
  hf("norm_topk_prob", normalised, false);
  if (!hf.writes()) c.moe.normalize = normalised ? Normalize::kBeforeDropping : Normalize::kNever;
}

// Every n-th layer is sparse, and the first ones may be dense (Qwen).
void sparse_layers(HfConfig& hf, ModelConfig& c) {
  hf("decoder_sparse_step", c.moe.every, 1);
  if (hf.writes()) {
    ordered_json dense = ordered_json::array();
    for (int64_t layer = 0; layer < c.moe.first_layer; ++layer) dense.push_back(layer);
    return hf.set("mlp_only_layers", dense);
  }
  const ordered_json& dense = hf.at("mlp_only_layers");
  if (!dense.is_null() && !dense.is_array()) hf.refuse("mlp_only_layers", "a list of layers", dense);
  c.moe.first_layer = 0;
  for (const ordered_json& layer : dense) {
    if (layer != c.moe.first_layer) hf.refuse("mlp_only_layers", "the first layers, in order", dense);
    ++c.moe.first_layer;
  }
}

void mixtral(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-5, 4096 * 32);
  heads(hf, c, 8);
  rope_settings(hf, c, 1e6);
  window_of_all(hf, c, 0);
  experts(hf, c, count_key(hf, "num_local_experts", "num_experts"), 2, 0.001);
}

void olmoe(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-5, 4096);
  heads(hf, c);
  rope_settings(hf, c);
  attention_bias(hf, c);
  hf.require("clip_qkv", nullptr, "limit on queries, keys and values");
  experts(hf, c, count_key(hf, "num_experts", "num_local_experts"), 8, 0.01);
  normalisation(hf, c);
  no_window(hf, c);
  if (!hf.writes()) c.qk_norm = QkNorm::kWhole;
}

void qwen2_moe(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 32768);
  heads(hf, c, 16);
  rope_settings(hf, c);
  hf("qkv_bias", c.qkv_bias, true);
  hf.require("use_sliding_window", false, "window in every second layer");
  no_window(hf, c);
  experts(hf, c, count_key(hf, "num_experts", "num_local_experts"), 4, 0.001);
  normalisation(hf, c);
  sparse_layers(hf, c);
  if (hf.writes()) c.moe.expert_d_ff = c.expert_d_ff();
  hf("moe_intermediate_size", c.moe.expert_d_ff, 1408);
  hf("shared_expert_intermediate_size", c.moe.shared_d_ff, 5632);
  if (!hf.writes()) c.moe.shared_gate = true;
}

void qwen3_moe(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 32768);
  heads(hf, c, 4);
  rope_settings(hf, c);
  attention_bias(hf, c);
  bool uses_window = c.window > 0;
  hf("use_sliding_window", uses_window, false);
  if (uses_window)
    window_of_all(hf, c, 4096);
  else
    no_window(hf, c);
  experts(hf, c, count_key(hf, "num_experts", "num_local_experts"), 8, 0.001);
  normalisation(hf, c);
  sparse_layers(hf, c);
  if (hf.writes()) c.moe.expert_d_ff = c.expert_d_ff();
  hf("moe_intermediate_size", c.moe.expert_d_ff, 768);
  if (!hf.writes()) c.qk_norm = QkNorm::kHead;
}

void granitemoe(HfConfig& hf, ModelConfig& c) {
  llama_like(hf, c, 1e-6, 2048);
  heads(hf, c);
  rope_settings(hf, c);
  attention_bias(hf, c);
  no_window(hf, c);
  if (hf.writes() && c.attention_multiplier == 0)
    c.attention_multiplier = 1.0 / std::sqrt(static_cast<double>(c.head_width()));
  hf("embedding_multiplier", c.embedding_multiplier, 1.0);
  hf("residual_multiplier", c.residual_multiplier, 1.0);
  hf("attention_multiplier", c.attention_multiplier, 1.0);
  hf("logits_scaling", c.logit_divisor, 1.0);
  experts(hf, c, count_key(hf, "num_local_experts", "num_experts"), 2, 0.001);
}

// --- Names ---

// clang-format off
constexpr HfName kLlamaNames[] = {{"embed_tokens.", "model.embed_tokens."}, {"final_norm.", "model.norm."},
                                  {"output.", "lm_head."}};
constexpr HfName kLlamaLayer[] = {{"attn_norm.", "input_layernorm."}, {"ffn_norm.", "post_attention_layernorm."},
                                  {"attn.q_norm.", "self_attn.q_norm."}, {"attn.k_norm.", "self_attn.k_norm."},
                                  {"attn.out_proj.", "self_attn.o_proj."}, {"attn.", "self_attn."},
                                  {"ffn.fc1.", "mlp.gate_proj.", HfLayout::kAbove, 0, "mlp.up_proj."},
                                  {"ffn.fc2.", "mlp.down_proj."}};
constexpr HfName kOlmo2Layer[] = {{"attn_norm.", "post_attention_layernorm."},
                                  {"ffn_norm.", "post_feedforward_layernorm."}};
constexpr HfName kGpt2Names[] = {{"embed_tokens.", "transformer.wte."}, {"final_norm.", "transformer.ln_f."},
                                 {"embed_positions.", "transformer.wpe.", HfLayout::kPositions}, {"output.", "lm_head."}};
constexpr HfName kGpt2Layer[] = {{"attn_norm.", "ln_1."}, {"ffn_norm.", "ln_2."},
                                 {"attn.q_proj.", "attn.c_attn.", HfLayout::kThird, 0},
                                 {"attn.k_proj.", "attn.c_attn.", HfLayout::kThird, 1},
                                 {"attn.v_proj.", "attn.c_attn.", HfLayout::kThird, 2},
                                 {"attn.out_proj.", "attn.c_proj.", HfLayout::kTransposed},
                                 {"ffn.fc1.", "mlp.c_fc.", HfLayout::kTransposed},
                                 {"ffn.fc2.", "mlp.c_proj.", HfLayout::kTransposed}};
constexpr HfName kOptNames[] = {{"embed_tokens.", "model.decoder.embed_tokens."},
                                {"embed_positions.", "model.decoder.embed_positions."},
                                {"final_norm.", "model.decoder.final_layer_norm."}, {"output.", "lm_head."}};
constexpr HfName kXglmNames[] = {{"embed_tokens.", "model.embed_tokens."}, {"final_norm.", "model.layer_norm."},
                                 {"output.", "lm_head."}};
constexpr HfName kFairseqLayer[] = {{"attn_norm.", "self_attn_layer_norm."}, {"ffn_norm.", "final_layer_norm."},
                                    {"attn.", "self_attn."}, {"ffn.", ""}};
constexpr HfName kFairseqExperts[] = {{"moe.router.", "moe_layer.gate.wg."}, {"moe.", "moe_layer."}};
constexpr HfName kNeoxNames[] = {{"embed_tokens.", "gpt_neox.embed_in."}, {"final_norm.", "gpt_neox.final_layer_norm."},
                                 {"output.", "embed_out."}};
constexpr HfName kNeoxLayer[] = {{"attn_norm.", "input_layernorm."}, {"ffn_norm.", "post_attention_layernorm."},
                                 {"attn.q_proj.", "attention.query_key_value.", HfLayout::kHeadThird, 0},
                                 {"attn.k_proj.", "attention.query_key_value.", HfLayout::kHeadThird, 1},
                                 {"attn.v_proj.", "attention.query_key_value.", HfLayout::kHeadThird, 2},
                                 {"attn.out_proj.", "attention.dense."},
                                 {"ffn.fc1.", "mlp.dense_h_to_4h."}, {"ffn.fc2.", "mlp.dense_4h_to_h."}};
constexpr HfName kPhiNames[] = {{"embed_tokens.", "model.embed_tokens."}, {"final_norm.", "model.final_layernorm."},
                                {"output.", "lm_head."}};
constexpr HfName kPhiLayer[] = {{"attn_norm.", "input_layernorm."}, {"attn.out_proj.", "self_attn.dense."},
                                {"attn.", "self_attn."}, {"ffn.", "mlp."}};

constexpr HfName kMixtralExperts[] = {
    {"moe.router.", "block_sparse_moe.gate."},
    {"moe.experts.{}.fc1.", "block_sparse_moe.experts.{}.w1.", HfLayout::kAbove, 0, "block_sparse_moe.experts.{}.w3."},
    {"moe.experts.{}.fc2.", "block_sparse_moe.experts.{}.w2."}};
constexpr HfName kQwenExperts[] = {
    {"moe.router.", "mlp.gate."},
    {"moe.experts.{}.fc1.", "mlp.experts.{}.gate_proj.", HfLayout::kAbove, 0, "mlp.experts.{}.up_proj."},
    {"moe.experts.{}.fc2.", "mlp.experts.{}.down_proj."},
    {"moe.shared.fc1.", "mlp.shared_expert.gate_proj.", HfLayout::kAbove, 0, "mlp.shared_expert.up_proj."},
    {"moe.shared.fc2.", "mlp.shared_expert.down_proj."}, {"moe.shared_gate.", "mlp.shared_expert_gate."}};
constexpr HfName kGraniteExperts[] = {{"moe.router.", "block_sparse_moe.router.layer."},
                                      {"moe.experts.{}.fc1.", "block_sparse_moe.input_linear.", HfLayout::kSlab},
                                      {"moe.experts.{}.fc2.", "block_sparse_moe.output_linear.", HfLayout::kSlab}};

constexpr HfFamily kFamilies[] = {
    {"gpt2", "GPT2LMHeadModel", gpt2, "transformer.", "transformer.h.", kGpt2Names, kGpt2Layer},
    {"opt", "OPTForCausalLM", opt, "model.", "model.decoder.layers.", kOptNames, kFairseqLayer},
    {"xglm", "XGLMForCausalLM", xglm, "model.", "model.layers.", kXglmNames, kFairseqLayer},
    {"gpt_neox", "GPTNeoXForCausalLM", gpt_neox, "gpt_neox.", "gpt_neox.layers.", kNeoxNames, kNeoxLayer},
    {"phi", "PhiForCausalLM", phi, "model.", "model.layers.", kPhiNames, kPhiLayer},
    {"llama", "LlamaForCausalLM", llama, "model.", "model.layers.", kLlamaNames, kLlamaLayer},
    {"mistral", "MistralForCausalLM", mistral, "model.", "model.layers.", kLlamaNames, kLlamaLayer},
    {"qwen2", "Qwen2ForCausalLM", qwen2, "model.", "model.layers.", kLlamaNames, kLlamaLayer},
    {"qwen3", "Qwen3ForCausalLM", qwen3, "model.", "model.layers.", kLlamaNames, kLlamaLayer},
    {"olmo2", "Olmo2ForCausalLM", olmo2, "model.", "model.layers.", kLlamaNames, kOlmo2Layer, kLlamaLayer},
    {"mixtral", "MixtralForCausalLM", mixtral, "model.", "model.layers.", kLlamaNames, kMixtralExperts, kLlamaLayer,
     "mlp.experts", "mlp.gate"},
    {"olmoe", "OlmoeForCausalLM", olmoe, "model.", "model.layers.", kLlamaNames, kQwenExperts, kLlamaLayer,
     "mlp.experts", "mlp.gate"},
    {"qwen2_moe", "Qwen2MoeForCausalLM", qwen2_moe, "model.", "model.layers.", kLlamaNames, kQwenExperts, kLlamaLayer,
     "mlp.experts", "mlp.gate"},
    {"qwen3_moe", "Qwen3MoeForCausalLM", qwen3_moe, "model.", "model.layers.", kLlamaNames, kQwenExperts, kLlamaLayer,
     "mlp.experts", "mlp.gate"},
    {"granitemoe", "GraniteMoeForCausalLM", granitemoe, "model.", "model.layers.", kLlamaNames, kGraniteExperts,
     kLlamaLayer, "block_sparse_moe.experts", "block_sparse_moe.router"},
    {.model_type = "xglm_moe", .architecture = "XGLMMoeForCausalLM", .facts = xglm_moe, .base = "model.",
     .layers = "model.layers.", .names = kXglmNames, .layer_names = kFairseqExperts, .more_names = kFairseqLayer,
     .ours = true},
};
// clang-format on

// Known families that need a fact which this decoder does not have.
constexpr std::pair<std::string_view, std::string_view> kMissing[] = {
    {"deepseek_v2", "attention through a latent vector (MLA)"},
    {"deepseek_v3", "attention through a latent vector (MLA)"},
    {"gpt_oss", "attention sinks, clamped gates and a bias of the router"},
    {"phi3", "rotary scaling longrope"},
    {"gemma", "norm weights that count from 1"},
    {"gemma2", "norm weights that count from 1 and two norms a block"},
    {"gemma3_text", "norm weights that count from 1 and two norms a block"},
    {"falcon", "queries, keys and values as one product of groups"},
    {"bloom", "ALiBi positions"},
    {"mpt", "ALiBi positions"},
    {"gptj", "rotary positions by pairs of neighbours"},
    {"cohere", "rotary positions by pairs of neighbours"}};

}  // namespace

std::span<const HfFamily> hf_families() { return kFamilies; }

const HfFamily& hf_family(const HfConfig& config) {
  const auto found = config.object().find("model_type");
  const ordered_json type = found == config.object().end() ? ordered_json() : *found;
  std::string names;
  for (const HfFamily& family : kFamilies) {
    if (type == family.model_type) return family;
    names += (names.empty() ? "" : ", ") + std::string(family.model_type);
  }
  std::string needs;
  for (const auto& [name, missing] : kMissing)
    if (type == name) needs = fmt::format(" (this decoder has no {})", missing);
  config.refuse("model_type", "one of " + names + needs, type);
}

}  // namespace troupe
