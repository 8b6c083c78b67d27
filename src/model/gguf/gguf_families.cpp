#include "model/gguf/gguf_families.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <vector>

#include "base/error.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;

constexpr GgufFamily kGgufRows[] = {
    {.architecture = "llama", .model_type = "llama", .pairs = true},
    {.architecture = "llama", .model_type = "mixtral", .sparse = true, .pairs = true},
    {.architecture = "qwen2", .model_type = "qwen2"},
    {.architecture = "qwen3", .model_type = "qwen3"},
    {.architecture = "olmoe", .model_type = "olmoe", .sparse = true},
    {.architecture = "qwen2moe", .model_type = "qwen2_moe", .sparse = true},
    {.architecture = "qwen3moe", .model_type = "qwen3_moe", .sparse = true, .norm_topk_prob = true}};

// Keys behind "ARCHITECTURE." and the settings that they are.
struct GgufKey {
  const char *gguf, *hf;
  bool whole = true;  // an integer
};
constexpr GgufKey kGgufKeys[] = {{"block_count", "num_hidden_layers"},
                                 {"context_length", "max_position_embeddings"},
                                 {"embedding_length", "hidden_size"},
                                 {"feed_forward_length", "intermediate_size"},
                                 {"attention.head_count", "num_attention_heads"},
                                 {"attention.head_count_kv", "num_key_value_heads"},
                                 {"attention.key_length", "head_dim"},
                                 {"attention.layer_norm_rms_epsilon", "rms_norm_eps", false},
                                 {"rope.freq_base", "rope_theta", false},
                                 {"expert_count", "num_experts"},
                                 {"expert_used_count", "num_experts_per_tok"},
                                 {"expert_feed_forward_length", "moe_intermediate_size"},
                                 {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"}};
// What says the same once more, or nothing here.
constexpr const char* kRedundant[] = {"vocab_size", "rope.dimension_count", "attention.value_length"};
constexpr const char* kScalingKeys[] = {"rope.scaling.type", "rope.scaling.factor",
                                        "rope.scaling.original_context_length"};

struct GgufName {
  const char *hf, *gguf;
};
constexpr GgufName kGgufWhole[] = {
    {"model.embed_tokens.", "token_embd."}, {"model.norm.", "output_norm."}, {"lm_head.", "output."}};
constexpr GgufName kGgufLayer[] = {{"input_layernorm.", "attn_norm."},
                                   {"post_attention_layernorm.", "ffn_norm."},
                                   {"self_attn.q_proj.", "attn_q."},
                                   {"self_attn.k_proj.", "attn_k."},
                                   {"self_attn.v_proj.", "attn_v."},
                                   {"self_attn.o_proj.", "attn_output."},
                                   {"self_attn.q_norm.", "attn_q_norm."},
                                   {"self_attn.k_norm.", "attn_k_norm."},
                                   {"mlp.gate_proj.", "ffn_gate."},
                                   {"mlp.up_proj.", "ffn_up."},
                                   {"mlp.down_proj.", "ffn_down."},
                                   {"mlp.gate.", "ffn_gate_inp."},
                                   {"block_sparse_moe.gate.", "ffn_gate_inp."},
                                   {"mlp.shared_expert.gate_proj.", "ffn_gate_shexp."},
                                   {"mlp.shared_expert.up_proj.", "ffn_up_shexp."},
                                   {"mlp.shared_expert.down_proj.", "ffn_down_shexp."},
                                   {"mlp.shared_expert_gate.", "ffn_gate_inp_shexp."}};
constexpr const char* kExpertPrefixes[] = {"mlp.experts.", "block_sparse_moe.experts."};
constexpr GgufName kGgufExpert[] = {{"gate_proj.", "ffn_gate_exps."}, {"up_proj.", "ffn_up_exps."},
                                    {"down_proj.", "ffn_down_exps."}, {"w1.", "ffn_gate_exps."},
                                    {"w3.", "ffn_up_exps."},          {"w2.", "ffn_down_exps."}};

template <size_t N>
std::string renamed(std::string_view name, const GgufName (&rows)[N]) {
  for (const GgufName& row : rows)
    if (name.starts_with(row.hf)) return row.gguf + std::string(name.substr(std::string_view(row.hf).size()));
  return {};
}

// A float32 of the file as the decimal number that was meant: 1e-5, not 9.99999975e-06.
double as_meant(double value) { return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr); }

ordered_json rope_scaling(const GgufFile& file, const std::string& prefix) {
  const std::string type = file.string(prefix + "rope.scaling.type", "none");
  if (type == "none") return nullptr;
  if (type != "linear")
    fail(ErrorCode::kData, "{}: {}rope.scaling.type: expected none or linear, got {}", file.where(), prefix, type);
  return {{"rope_type", type}, {"factor", as_meant(file.number(prefix + "rope.scaling.factor", 1.0))}};
}

// Every key of the architecture must be one that is read.
void check_keys(const GgufFile& file, const std::string& prefix) {
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view rest = std::string_view(key).substr(prefix.size());
    const auto is = [&](const auto* known) { return rest == known; };
    const bool known =
        std::any_of(std::begin(kGgufKeys), std::end(kGgufKeys), [&](const GgufKey& row) { return rest == row.gguf; }) ||
        std::any_of(std::begin(kRedundant), std::end(kRedundant), is) ||
        std::any_of(std::begin(kScalingKeys), std::end(kScalingKeys), is);
    if (!known)
      fail(ErrorCode::kData, "{}: {}: expected no such setting (this decoder has no fact for it)", file.where(), key);
  }
}

void check_redundant(const GgufFile& file, const std::string& prefix, const char* key, int64_t expected) {
  if (const int64_t got = file.integer(prefix + key, expected); got != expected)
    fail(ErrorCode::kData, "{}: {}{}: expected {}, as the other settings say, got {}", file.where(), prefix, key,
         expected, got);
}

}  // namespace

std::span<const GgufFamily> gguf_families() { return kGgufRows; }

const GgufFamily& gguf_family(const GgufFile& file) {
  const std::string& architecture = file.string("general.architecture");
  const bool sparse = file.integer(architecture + ".expert_count", 0) > 0;
  std::string names;
  for (const GgufFamily& row : kGgufRows) {
    if (row.architecture == architecture && row.sparse == sparse) return row;
    if (names.find(row.architecture) == names.npos)
      names += (names.empty() ? "" : ", ") + std::string(row.architecture);
  }
  fail(ErrorCode::kData, "{}: general.architecture: expected one of {}, got {}{}", file.where(), names, architecture,
       sparse ? " with experts" : "");
}

ordered_json hf_settings(const GgufFile& file, const GgufFamily& family) {
  const std::string prefix = std::string(family.architecture) + ".";
  check_keys(file, prefix);
  const GgufTensor* const embedding = file.find_tensor("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    fail(ErrorCode::kData, "{}: token_embd.weight: expected a matrix, got none", file.where());
  ordered_json settings = {{"model_type", family.model_type}, {"vocab_size", embedding->shape[0]}};
  for (const GgufKey& row : kGgufKeys) {
    const std::string key = prefix + row.gguf;
    if (!file.has(key)) continue;
    if (row.whole)
      settings[row.hf] = file.integer(key);
    else
      settings[row.hf] = as_meant(file.number(key, 0.0));
  }
  if (const ordered_json scaling = rope_scaling(file, prefix); !scaling.is_null()) settings["rope_scaling"] = scaling;
  const int64_t heads = file.integer(prefix + "attention.head_count");
  if (heads < 1)
    fail(ErrorCode::kData, "{}: {}attention.head_count: expected at least 1, got {}", file.where(), prefix, heads);
  if (!settings.contains("head_dim")) settings["head_dim"] = file.integer(prefix + "embedding_length") / heads;
  const auto head_dim = settings["head_dim"].get<int64_t>();
  check_redundant(file, prefix, "vocab_size", embedding->shape[0]);
  check_redundant(file, prefix, "rope.dimension_count", head_dim);
  check_redundant(file, prefix, "attention.value_length", head_dim);
  settings["tie_word_embeddings"] = !file.find_tensor("output.weight");
  if (family.model_type == "llama") {
    settings["attention_bias"] = file.find_tensor("blk.0.attn_q.bias") != nullptr;
    settings["mlp_bias"] = file.find_tensor("blk.0.ffn_down.bias") != nullptr;
  }
  if (family.sparse && family.model_type != "mixtral") settings["norm_topk_prob"] = family.norm_topk_prob;
  if (file.has(kGgufEndOfText)) settings["eos_token_id"] = file.integer(kGgufEndOfText);
  return settings;
}

GgufMetadata gguf_settings(const ordered_json& settings, const GgufFamily& family) {
  const std::string prefix = std::string(family.architecture) + ".";
  GgufMetadata metadata = {{"general.architecture", GgufValue::string(std::string(family.architecture))}};
  const auto add = [&](const char* key, const ordered_json& value, bool whole) {
    if (whole && value.is_number_integer())
      metadata.emplace_back(prefix + key, GgufValue::u32(value.get<int64_t>()));
    else if (!whole && value.is_number())
      metadata.emplace_back(prefix + key, GgufValue::f32(value.get<double>()));
  };
  for (const GgufKey& row : kGgufKeys) {
    const bool experts = std::string_view(row.hf) == "num_experts" && settings.contains("num_local_experts");
    const auto found = settings.find(experts ? "num_local_experts" : row.hf);
    if (found != settings.end()) add(row.gguf, *found, row.whole);
  }
  add("vocab_size", settings.at("vocab_size"), true);
  if (const auto width = settings.find("head_dim"); width != settings.end()) {
    add("attention.value_length", *width, true);
    add("rope.dimension_count", *width, true);
  } else {
    const int64_t heads = settings.at("num_attention_heads").get<int64_t>();
    add("rope.dimension_count", settings.at("hidden_size").get<int64_t>() / heads, true);
  }
  if (const auto rope = settings.find("rope_scaling"); rope != settings.end() && rope->is_object()) {
    if (rope->at("rope_type") == "linear") {
      metadata.emplace_back(prefix + "rope.scaling.type", GgufValue::string("linear"));
      add("rope.scaling.factor", rope->at("factor"), false);
    }
  }
  return metadata;
}

bool in_rotary_pairs(std::string_view name) {
  return name.find(".attn_q.") != name.npos || name.find(".attn_k.") != name.npos;
}

int64_t row_of_pairs(int64_t r, int64_t head_width) {
  const int64_t head = r / head_width, at = r % head_width, half = head_width / 2;
  return head * head_width + at % half * 2 + at / half;
}

GgufPlace gguf_place(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return {renamed(name, kGgufWhole)};
  name.remove_prefix(kLayers.size());
  const size_t dot = name.find('.');
  const std::string block = "blk." + std::string(name.substr(0, dot)) + ".";
  name.remove_prefix(dot + 1);
  for (const std::string_view prefix : kExpertPrefixes) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const size_t end = name.find('.');
    const std::string rest = renamed(name.substr(end + 1), kGgufExpert);
    return {rest.empty() ? rest : block + rest, std::strtoll(std::string(name.substr(0, end)).c_str(), nullptr, 10)};
  }
  const std::string rest = renamed(name, kGgufLayer);
  return {rest.empty() ? rest : block + rest};
}

}  // namespace troupe
