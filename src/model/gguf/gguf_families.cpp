#include "model/gguf/gguf_families.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "ops/rotary.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;

constexpr GgufFamily kGgufRows[] = {
    {.architecture = "llama", .model_type = "llama", .pairs = true, .frequencies = true},
    {.architecture = "llama", .model_type = "mixtral", .sparse = true, .pairs = true},
    {.architecture = "gpt2", .model_type = "gpt2"},
    {.architecture = "qwen2", .model_type = "qwen2"},
    {.architecture = "qwen3", .model_type = "qwen3"},
    {.architecture = "olmoe", .model_type = "olmoe", .sparse = true, .own_output = true},
    {.architecture = "qwen2moe", .model_type = "qwen2_moe", .sparse = true, .own_output = true},
    {.architecture = "qwen3moe", .model_type = "qwen3_moe", .sparse = true, .norm_topk_prob = true},
    {.architecture = "granitemoe", .model_type = "granitemoe", .sparse = true, .pairs = true},
    {.architecture = "phi2", .model_type = "phi", .partly_rotary = true, .own_output = true}};

// Keys behind "ARCHITECTURE." and the settings that they are.
struct GgufKey {
  const char *gguf, *hf;
  bool whole = true;           // an integer
  std::string_view only = {};  // of this family alone; empty: of all but gpt2, whose settings have other names

  bool is_of(const GgufFamily& family) const {
    return only.empty() ? family.model_type != "gpt2" : only == family.model_type;
  }
};
constexpr GgufKey kGgufKeys[] = {{"block_count", "n_layer", true, "gpt2"},
                                 {"context_length", "n_positions", true, "gpt2"},
                                 {"embedding_length", "n_embd", true, "gpt2"},
                                 {"feed_forward_length", "n_inner", true, "gpt2"},
                                 {"attention.head_count", "n_head", true, "gpt2"},
                                 {"attention.layer_norm_epsilon", "layer_norm_epsilon", false, "gpt2"},
                                 {"block_count", "num_hidden_layers"},
                                 {"context_length", "max_position_embeddings"},
                                 {"embedding_length", "hidden_size"},
                                 {"feed_forward_length", "intermediate_size"},
                                 {"attention.head_count", "num_attention_heads"},
                                 {"attention.head_count_kv", "num_key_value_heads"},
                                 {"attention.key_length", "head_dim"},
                                 {"attention.layer_norm_rms_epsilon", "rms_norm_eps", false},
                                 {"attention.layer_norm_epsilon", "layer_norm_eps", false, "phi"},
                                 {"attention.scale", "attention_multiplier", false, "granitemoe"},
                                 {"embedding_scale", "embedding_multiplier", false, "granitemoe"},
                                 {"residual_scale", "residual_multiplier", false, "granitemoe"},
                                 {"logit_scale", "logits_scaling", false, "granitemoe"},
                                 {"rope.freq_base", "rope_theta", false},
                                 {"expert_count", "num_experts"},
                                 {"expert_used_count", "num_experts_per_tok"},
                                 {"expert_feed_forward_length", "moe_intermediate_size"},
                                 {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"}};
// What says the same once more, or nothing here.
constexpr const char* kRedundant[] = {"vocab_size", "rope.dimension_count", "attention.value_length"};
// The last three are ours: llama.cpp needs no more than the frequencies (kGgufFrequencies), whose scaling has facts
// here.
constexpr const char* kScalingKeys[] = {"rope.scaling.type",
                                        "rope.scaling.factor",
                                        "rope.scaling.original_context_length",
                                        "rope.scaling.attn_factor",
                                        "rope.scaling.yarn_beta_fast",
                                        "rope.scaling.yarn_beta_slow",
                                        "rope.scaling.finetuned",
                                        "rope.scaling.llama3_factor",
                                        "rope.scaling.low_freq_factor",
                                        "rope.scaling.high_freq_factor"};
// What llama.cpp does with experts, where a file says it.
constexpr const char* kExpertKeys[] = {"expert_weights_norm", "expert_weights_scale", "expert_gating_func"};

struct GgufName {
  const char *hf, *gguf;
};
constexpr GgufName kGgufWhole[] = {{"model.embed_tokens.", "token_embd."},
                                   {"model.norm.", "output_norm."},
                                   {"model.final_layernorm.", "output_norm."},
                                   {"lm_head.", "output."}};
constexpr GgufName kGgufLayer[] = {{"input_layernorm.", "attn_norm."},
                                   {"post_attention_layernorm.", "ffn_norm."},
                                   {"self_attn.q_proj.", "attn_q."},
                                   {"self_attn.k_proj.", "attn_k."},
                                   {"self_attn.v_proj.", "attn_v."},
                                   {"self_attn.o_proj.", "attn_output."},
                                   {"self_attn.dense.", "attn_output."},
                                   {"self_attn.q_norm.", "attn_q_norm."},
                                   {"self_attn.k_norm.", "attn_k_norm."},
                                   {"mlp.gate_proj.", "ffn_gate."},
                                   {"mlp.up_proj.", "ffn_up."},
                                   {"mlp.down_proj.", "ffn_down."},
                                   {"mlp.fc1.", "ffn_up."},
                                   {"mlp.fc2.", "ffn_down."},
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

// GPT-2's tensors under the names of the file: matrices are [out, in] there, and q above k above v.
constexpr HfName kGgufGpt2Whole[] = {{"embed_tokens.", "token_embd."},
                                     {"embed_positions.", "position_embd.", HfLayout::kPositions},
                                     {"final_norm.", "output_norm."},
                                     {"output.", "output."}};
constexpr HfName kGgufGpt2Layer[] = {{"attn_norm.", "attn_norm."},
                                     {"ffn_norm.", "ffn_norm."},
                                     {"attn.q_proj.", "attn_qkv.", HfLayout::kRowThird, 0},
                                     {"attn.k_proj.", "attn_qkv.", HfLayout::kRowThird, 1},
                                     {"attn.v_proj.", "attn_qkv.", HfLayout::kRowThird, 2},
                                     {"attn.out_proj.", "attn_output."},
                                     {"ffn.fc1.", "ffn_up."},
                                     {"ffn.fc2.", "ffn_down."}};
constexpr HfFamily kGgufGpt2 = {"gpt2", "", nullptr, "", "blk.", kGgufGpt2Whole, kGgufGpt2Layer};

const HfFamily& family_of_type(std::string_view model_type) {
  for (const HfFamily& family : hf_families())
    if (family.model_type == model_type) return family;
  fail(ErrorCode::kInternal, "gguf: no family {}", model_type);
}

template <size_t N>
std::string renamed(std::string_view name, const GgufName (&rows)[N]) {
  for (const GgufName& row : rows)
    if (name.starts_with(row.hf)) return row.gguf + std::string(name.substr(std::string_view(row.hf).size()));
  return {};
}

// A float32 of the file as the decimal number that was meant: 1e-5, not 9.99999975e-06.
double as_meant(double value) { return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr); }

// The table says what it divides by, the keys why; by default as Llama 3.1 has it.
ordered_json llama3_scaling(const GgufFile& file, const std::string& prefix, const GgufTensor& table) {
  std::vector<float> divisors(static_cast<size_t>(num_elements(table.shape)));
  dequantize(table.type, table.bytes, divisors);
  const double largest = divisors.empty() ? 1.0 : std::max(1.0f, *std::max_element(divisors.begin(), divisors.end()));
  return {{"rope_type", "llama3"},
          {"factor", as_meant(file.number(prefix + "rope.scaling.llama3_factor", largest))},
          {"low_freq_factor", as_meant(file.number(prefix + "rope.scaling.low_freq_factor", 1.0))},
          {"high_freq_factor", as_meant(file.number(prefix + "rope.scaling.high_freq_factor", 4.0))},
          {"original_max_position_embeddings", file.integer(prefix + "rope.scaling.original_context_length", 8192)}};
}

ordered_json rope_scaling(const GgufFile& file, const GgufFamily& family, const std::string& prefix) {
  const std::string type = file.string(prefix + "rope.scaling.type", "none");
  if (const GgufTensor* const table = file.find_tensor(kGgufFrequencies); table && family.frequencies) {
    if (type != "none")
      fail(ErrorCode::kData, "{}: {}rope.scaling.type: expected none beside {}, got {}", file.where(), prefix,
           kGgufFrequencies, type);
    return llama3_scaling(file, prefix, *table);
  }
  if (type == "none") return nullptr;
  const double factor = as_meant(file.number(prefix + "rope.scaling.factor", 1.0));
  if (type == "linear") return {{"rope_type", type}, {"factor", factor}};
  if (type != "yarn")
    fail(ErrorCode::kData, "{}: {}rope.scaling.type: expected none, linear or yarn, got {}", file.where(), prefix,
         type);
  ordered_json rope = {{"rope_type", type}, {"factor", factor}};
  if (const std::string key = prefix + "rope.scaling.original_context_length"; file.has(key))
    rope["original_max_position_embeddings"] = file.integer(key);
  if (const std::string key = prefix + "rope.scaling.yarn_beta_fast"; file.has(key))
    rope["beta_fast"] = as_meant(file.number(key, 0.0));
  if (const std::string key = prefix + "rope.scaling.yarn_beta_slow"; file.has(key))
    rope["beta_slow"] = as_meant(file.number(key, 0.0));
  if (const std::string key = prefix + "rope.scaling.attn_factor"; file.has(key))  // of the usual one
    rope["attention_factor"] = as_meant(file.number(key, 1.0) * yarn_factor(factor));
  return rope;
}

void write_rope_scaling(const ordered_json& rope, const std::string& prefix, GgufMetadata& metadata) {
  const auto number = [&](const char* key, const char* said) {
    if (const auto found = rope.find(said); found != rope.end())
      metadata.emplace_back(prefix + key, GgufValue::f32(found->get<double>()));
  };
  const auto& type = rope.at("rope_type").get_ref<const std::string&>();
  if (type == "linear" || type == "yarn") {
    metadata.emplace_back(prefix + "rope.scaling.type", GgufValue::string(type));
    number("rope.scaling.factor", "factor");
  }
  if (type == "yarn" || type == "llama3")
    metadata.emplace_back(prefix + "rope.scaling.original_context_length",
                          GgufValue::u32(rope.at("original_max_position_embeddings").get<int64_t>()));
  if (type == "yarn") {
    number("rope.scaling.yarn_beta_fast", "beta_fast");
    number("rope.scaling.yarn_beta_slow", "beta_slow");
    if (const auto found = rope.find("attention_factor"); found != rope.end())
      metadata.emplace_back(prefix + "rope.scaling.attn_factor",
                            GgufValue::f32(found->get<double>() / yarn_factor(rope.at("factor").get<double>())));
  }
  if (type == "llama3") {
    number("rope.scaling.llama3_factor", "factor");
    number("rope.scaling.low_freq_factor", "low_freq_factor");
    number("rope.scaling.high_freq_factor", "high_freq_factor");
  }
}

void check_experts(const GgufFile& file, const GgufFamily& family, const std::string& prefix) {
  const bool normalised = family.norm_topk_prob || family.model_type == "mixtral" || family.model_type == "granitemoe";
  if (const std::string key = prefix + "expert_weights_norm"; file.boolean(key, normalised) != normalised)
    fail(ErrorCode::kData, "{}: {}: expected {}, as llama.cpp computes {}, got {}", file.where(), key, normalised,
         family.architecture, !normalised);
  if (const std::string key = prefix + "expert_weights_scale"; file.number(key, 1.0) != 1.0)
    fail(ErrorCode::kData, "{}: {}: expected 1, got {}", file.where(), key, file.number(key, 1.0));
  if (const std::string key = prefix + "expert_gating_func"; file.integer(key, 1) != 1)
    fail(ErrorCode::kData, "{}: {}: expected 1 (softmax), got {}", file.where(), key, file.integer(key, 1));
}

// Every key of the architecture must be one that is read.
void check_keys(const GgufFile& file, const GgufFamily& family, const std::string& prefix) {
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view rest = std::string_view(key).substr(prefix.size());
    const auto is = [&](const auto* known) { return rest == known; };
    const bool known = std::any_of(std::begin(kGgufKeys), std::end(kGgufKeys),
                                   [&](const GgufKey& row) { return row.is_of(family) && rest == row.gguf; }) ||
                       std::any_of(std::begin(kRedundant), std::end(kRedundant), is) ||
                       std::any_of(std::begin(kExpertKeys), std::end(kExpertKeys), is) ||
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
  check_keys(file, family, prefix);
  check_experts(file, family, prefix);
  const GgufTensor* const embedding = file.find_tensor("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    fail(ErrorCode::kData, "{}: token_embd.weight: expected a matrix, got none", file.where());
  ordered_json settings = {{"model_type", family.model_type}, {"vocab_size", embedding->shape[0]}};
  for (const GgufKey& row : kGgufKeys) {
    const std::string key = prefix + row.gguf;
    if (!row.is_of(family) || !file.has(key)) continue;
    if (row.whole)
      settings[row.hf] = file.integer(key);
    else
      settings[row.hf] = as_meant(file.number(key, 0.0));
  }
  const GgufTensor* const output = file.find_tensor("output.weight");
  settings["tie_word_embeddings"] = !output || (output->type == embedding->type && output->shape == embedding->shape &&
                                                std::ranges::equal(output->bytes, embedding->bytes));
  if (file.has(kGgufEndOfText)) settings["eos_token_id"] = file.integer(kGgufEndOfText);
  check_redundant(file, prefix, "vocab_size", embedding->shape[0]);
  if (family.model_type == "gpt2") return settings;

  if (const ordered_json scaling = rope_scaling(file, family, prefix); !scaling.is_null())
    settings["rope_scaling"] = scaling;
  const int64_t heads = file.integer(prefix + "attention.head_count");
  if (heads < 1)
    fail(ErrorCode::kData, "{}: {}attention.head_count: expected at least 1, got {}", file.where(), prefix, heads);
  if (!settings.contains("head_dim")) settings["head_dim"] = file.integer(prefix + "embedding_length") / heads;
  const auto head_dim = settings["head_dim"].get<int64_t>();
  if (family.partly_rotary)
    settings["partial_rotary_factor"] =
        static_cast<double>(file.integer(prefix + "rope.dimension_count", head_dim)) / static_cast<double>(head_dim);
  else
    check_redundant(file, prefix, "rope.dimension_count", head_dim);
  check_redundant(file, prefix, "attention.value_length", head_dim);
  if (family.model_type == "llama") {
    settings["attention_bias"] = file.find_tensor("blk.0.attn_q.bias") != nullptr;
    settings["mlp_bias"] = file.find_tensor("blk.0.ffn_down.bias") != nullptr;
  }
  if (family.model_type == "granitemoe") settings["attention_bias"] = file.find_tensor("blk.0.attn_q.bias") != nullptr;
  if (family.sparse && family.model_type != "mixtral" && family.model_type != "granitemoe")
    settings["norm_topk_prob"] = family.norm_topk_prob;
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
    if (!row.is_of(family)) continue;
    const bool experts = std::string_view(row.hf) == "num_experts" && settings.contains("num_local_experts");
    const auto found = settings.find(experts ? "num_local_experts" : row.hf);
    if (found != settings.end()) add(row.gguf, *found, row.whole);
  }
  add("vocab_size", settings.at("vocab_size"), true);
  if (family.model_type == "gpt2") return metadata;
  int64_t rotary = settings.at("hidden_size").get<int64_t>() / settings.at("num_attention_heads").get<int64_t>();
  if (const auto width = settings.find("head_dim"); width != settings.end()) {
    add("attention.value_length", *width, true);
    rotary = width->get<int64_t>();
  }
  if (family.partly_rotary)
    rotary = static_cast<int64_t>(static_cast<double>(rotary) * settings.at("partial_rotary_factor").get<double>());
  add("rope.dimension_count", rotary, true);
  if (const auto rope = settings.find("rope_scaling"); rope != settings.end() && rope->is_object())
    write_rope_scaling(*rope, prefix, metadata);
  return metadata;
}

bool in_rotary_pairs(std::string_view name) {
  return name.find(".attn_q.") != name.npos || name.find(".attn_k.") != name.npos;
}

int64_t row_of_pairs(int64_t r, int64_t head_width) {
  const int64_t head = r / head_width, at = r % head_width, half = head_width / 2;
  return head * head_width + at % half * 2 + at / half;
}

namespace {

// Where a tensor of a family named as Llama's lies; the number of an expert, or -1.
std::pair<std::string, int64_t> place_of(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return {renamed(name, kGgufWhole), -1};
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
  return {rest.empty() ? rest : block + rest, -1};
}

}  // namespace

std::vector<GgufPiece> gguf_pieces(const GgufFamily& row, const ModelConfig& config, const Parameter& parameter) {
  std::vector<GgufPiece> pieces;
  if (row.model_type == "gpt2") {
    for (HfPiece& piece : hf_pieces(kGgufGpt2, config, parameter))
      pieces.push_back({piece.tensor, -1, std::move(piece)});
    return pieces;
  }
  // Granite's experts are slabs of [gate, up]; the file has them apart, as Mixtral's are.
  const HfFamily& family = family_of_type(row.model_type == "granitemoe" ? "mixtral" : row.model_type);
  for (HfPiece& piece : hf_pieces(family, config, parameter)) {
    auto [name, expert] = place_of(piece.tensor);
    pieces.push_back({std::move(name), expert, std::move(piece)});
  }
  return pieces;
}

std::vector<float> gguf_frequencies(const ModelConfig& config) {
  if (config.rope.scaling != RopeScaling::kLlama3) return {};
  RopeConfig plain = config.rope;
  plain.scaling = RopeScaling::kNone;
  const int64_t R = config.rotary_width();
  std::vector<float> divisors = rotary_frequencies(plain, R, config.context, 0).w;
  const std::vector<float> scaled = rotary_frequencies(config.rope, R, config.context, 0).w;
  for (size_t j = 0; j < divisors.size(); ++j) divisors[j] /= scaled[j];
  return divisors;
}

}  // namespace troupe
