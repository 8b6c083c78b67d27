#include "model/fairseq_model.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/json_config.h"
#include "io/tensor_view.h"
#include "model/fairseq_names.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

// Settings that change what is computed, with the only value that this decoder has.
struct Required {
  const char* key;
  bool value;
};
constexpr std::array kRequired = {Required{"decoder_normalize_before", true},
                                  Required{"no_decoder_final_norm", false},
                                  Required{"share_decoder_input_output_embed", true},
                                  Required{"no_token_positional_embeddings", false},
                                  Required{"layernorm_embedding", false},
                                  Required{"use_stable_embedding", false},
                                  Required{"adaptive_input", false},
                                  Required{"character_embeddings", false}};
// Settings that must be absent, None or 0.
constexpr std::array kUnset = {"alternate_decoder_ffn_embed_dim", "base_layers"};
// Settings that matter in training only and have no counterpart here.
constexpr std::array kTrainingOnly = {"activation_dropout", "relu_dropout", "decoder_layerdrop", "quant_noise_pq",
                                      "quant_noise_scalar"};

template <class T>
T require(const std::optional<T>& value, const FairseqCheckpoint& checkpoint, const char* key) {
  if (!value) fail(ErrorCode::kData, "{}: model.{}: expected this setting, got none", checkpoint.where(), key);
  return *value;
}

void refuse_other_architectures(const FairseqCheckpoint& checkpoint) {
  for (const Required& required : kRequired)
    if (const auto value = checkpoint.boolean("model", required.key); value && *value != required.value)
      fail(ErrorCode::kData, "{}: model.{}: expected {}, got {} (another architecture than transformer_lm_gpt's)",
           checkpoint.where(), required.key, required.value ? "True" : "False", *value ? "True" : "False");
  for (const char* key : {"adaptive_softmax_cutoff", "decoder_layers_to_keep"})
    if (const auto value = checkpoint.text("model", key); value && !value->empty())
      fail(ErrorCode::kData, "{}: model.{}: expected None, got \"{}\"", checkpoint.where(), key, *value);
  for (const char* key : kUnset)
    if (const auto value = checkpoint.number("model", key); value && *value != 0.0)
      fail(ErrorCode::kData, "{}: model.{}: expected 0, got {}", checkpoint.where(), key, *value);
  // The loader of fairseq removes the final norm of models of version 2 and below (models/transformer.py:1122-1127).
  if (const TorchTensor* version = checkpoint.find("decoder.version"); version && num_elements(version->shape) == 1) {
    float value = 0;
    checkpoint.read_f32(*version, std::span(&value, 1));
    if (value <= 2)
      fail(ErrorCode::kData, "{}: decoder.version: expected above 2, got {} (a model without a final norm)",
           checkpoint.where(), value);
  }
}

Gelu gelu_of(const FairseqCheckpoint& checkpoint) {
  const std::string name = checkpoint.text("model", "activation_fn").value_or("relu");
  if (name == "gelu") return Gelu::kErf;
  if (name == "gelu_accurate" || name == "gelu_fast") return Gelu::kTanh;  // fairseq modules/gelu.py:14-19
  fail(ErrorCode::kData, "{}: model.activation_fn: expected gelu, gelu_accurate or gelu_fast, got {}",
       checkpoint.where(), name);
}

// Absent settings have the defaults of fairseq's code (branch moe), which are not those of its training recipes.
MoeConfig moe_of(const FairseqCheckpoint& checkpoint) {
  MoeConfig moe;
  moe.every = checkpoint.integer("model", "moe_freq").value_or(0);
  moe.num_experts = checkpoint.integer("model", "moe_expert_count").value_or(0);
  if (moe.every <= 0 || moe.num_experts <= 0) return MoeConfig{};
  const bool top1 = checkpoint.boolean("model", "moe_top1_expert").value_or(false);
  moe.top_k = top1 ? 1 : 2;
  moe.capacity = Capacity::kFairseq;
  moe.capacity_factor = 1.0;
  moe.eval_capacity_fraction = checkpoint.number("model", "moe_eval_capacity_token_fraction").value_or(0.25);
  moe.batch_prioritized = checkpoint.boolean("model", "moe_batch_prioritized_routing").value_or(false);
  moe.pad_mask = checkpoint.boolean("model", "use_moe_pad_mask").value_or(false);
  moe.aux_loss_weight = checkpoint.number("criterion", "moe_gate_loss_wt").value_or(1.0);
  if (top1) {
    moe.normalize = Normalize::kNever;
  } else {
    moe.normalize = checkpoint.boolean("model", "moe_normalize_gate_prob_before_dropping").value_or(false)
                        ? Normalize::kBeforeDropping
                        : Normalize::kAfterDropping;
    const std::string policy = checkpoint.text("model", "moe_second_expert_policy").value_or("sampling");
    if (policy == "all")
      moe.second_choice = SecondChoice::kAll;
    else if (policy == "sampling")
      moe.second_choice = SecondChoice::kSampling;
    else if (policy == "random")
      moe.second_choice = SecondChoice::kRandom;
    else
      fail(ErrorCode::kData, "{}: model.moe_second_expert_policy: expected all, sampling or random, got {}",
           checkpoint.where(), policy);
  }
  const std::string combine = checkpoint.text("criterion", "moe_gate_loss_combine_method").value_or("average");
  if (combine != "sum" && combine != "average")
    fail(ErrorCode::kData, "{}: criterion.moe_gate_loss_combine_method: expected sum or average, got {}",
         checkpoint.where(), combine);
  moe.aux_combine = combine == "sum" ? AuxCombine::kSum : AuxCombine::kAverage;
  return moe;
}

Buffer<float> values_of(const FairseqCheckpoint& checkpoint, const TorchTensor& tensor) {
  Buffer<float> values(num_elements(tensor.shape));
  checkpoint.read_f32(tensor, values.span());
  return values;
}

void check_tied_output(const FairseqCheckpoint& checkpoint, const TorchTensor& embedding) {
  const TorchTensor* output = checkpoint.find("decoder.output_projection.weight");
  if (!output || (output->bytes.data() == embedding.bytes.data() && output->shape == embedding.shape &&
                  output->stride == embedding.stride))
    return;
  bool equal = output->shape == embedding.shape;
  if (equal) {
    const Buffer<float> a = values_of(checkpoint, *output), b = values_of(checkpoint, embedding);
    equal = std::equal(a.begin(), a.end(), b.begin());
  }
  if (!equal)
    fail(ErrorCode::kData,
         "{}: decoder.output_projection.weight: expected the values of decoder.embed_tokens.weight "
         "(a tied output), got others",
         checkpoint.where());
}

}  // namespace

ModelConfig config_of(const FairseqCheckpoint& checkpoint, std::optional<Gelu> gelu) {
  refuse_other_architectures(checkpoint);
  const TorchTensor* embedding = checkpoint.find("decoder.embed_tokens.weight");
  if (!embedding || embedding->shape.size() != 2)
    fail(ErrorCode::kData, "{}: decoder.embed_tokens.weight: expected a matrix, got {}", checkpoint.where(),
         embedding ? to_string(embedding->shape) : "no such tensor");
  ModelConfig config;
  config.vocab_size = embedding->shape[0];
  config.d_model = require(checkpoint.integer("model", "decoder_embed_dim"), checkpoint, "decoder_embed_dim");
  config.num_layers = require(checkpoint.integer("model", "decoder_layers"), checkpoint, "decoder_layers");
  config.num_heads =
      require(checkpoint.integer("model", "decoder_attention_heads"), checkpoint, "decoder_attention_heads");
  config.d_ff = require(checkpoint.integer("model", "decoder_ffn_embed_dim"), checkpoint, "decoder_ffn_embed_dim");
  for (const char* key : {"decoder_input_dim", "decoder_output_dim"})
    if (const auto width = checkpoint.integer("model", key); width && *width != config.d_model)
      fail(ErrorCode::kData, "{}: model.{}: expected decoder_embed_dim ({}), got {}", checkpoint.where(), key,
           config.d_model, *width);
  config.positions =
      checkpoint.boolean("model", "decoder_learned_pos").value_or(false) ? Positions::kLearned : Positions::kSinusoidal;
  std::optional<int64_t> context = checkpoint.integer("model", "max_target_positions");
  if (!context) context = checkpoint.integer("model", "tokens_per_sample");
  if (!context) context = checkpoint.integer("task", "tokens_per_sample");
  config.context = require(context, checkpoint, "tokens_per_sample");
  config.gelu = gelu ? *gelu : gelu_of(checkpoint);
  config.scale_embedding = !checkpoint.boolean("model", "no_scale_embedding").value_or(false);
  config.dropout = checkpoint.number("model", "dropout").value_or(0.1);
  config.attention_dropout = checkpoint.number("model", "attention_dropout").value_or(0.0);
  config.pad_id = 1;  // fairseq data/dictionary.py: <s> 0, <pad> 1, </s> 2, <unk> 3
  config.eos_id = 2;
  config.moe = moe_of(checkpoint);
  // Before anybody makes a table from the settings: they promise no more than the file holds.
  if (config.num_layers > static_cast<int64_t>(checkpoint.tensors().size()))
    fail(ErrorCode::kData, "{}: model.decoder_layers: expected tensors for {} layers, got {} tensors in all",
         checkpoint.where(), config.num_layers, checkpoint.tensors().size());
  if (config.moe.num_experts != checkpoint.num_experts())
    fail(
        ErrorCode::kData, "{}: model.moe_expert_count: expected tensors of {} experts, got {}{}", checkpoint.where(),
        config.moe.num_experts, checkpoint.num_experts(),
        checkpoint.num_experts() == 0
            ? " (a run of one process saves its experts under the name of the file without them: lost, unless there is "
              "a NAME-rank-0.pt)"
            : "");
  FieldList fields = fields_of(config);
  from_json(to_json(fields), checkpoint.where(), fields);  // checks the ranges: the file may say anything
  try {
    check(config, checkpoint.where());
  } catch (const Error& error) {
    throw Error(ErrorCode::kData, error.what());
  }
  return config;
}

std::vector<std::string> ignored_settings(const FairseqCheckpoint& checkpoint) {
  std::vector<std::string> lines;
  for (const char* key : kTrainingOnly)
    if (const auto value = checkpoint.number("model", key); value && *value != 0.0)
      lines.push_back(fmt::format("{}: model.{}: {} is not carried over (it matters in training only)",
                                  checkpoint.where(), key, *value));
  return lines;
}

void check_tensors(const FairseqCheckpoint& checkpoint, const ParameterTable& table) {
  for (const Parameter& parameter : table.entries()) {
    const std::string name = fairseq_name_of(parameter.name).value();
    const TorchTensor* tensor = checkpoint.find(name);
    if (!tensor)
      fail(ErrorCode::kData, "{}: {}: expected {}, got no such tensor", checkpoint.where(), name,
           to_string(parameter.shape));
    if (tensor->shape != parameter.shape)
      fail(ErrorCode::kData, "{}: {}: expected {} by its settings, got {}", checkpoint.where(), name,
           to_string(parameter.shape), describe(tensor->dtype, tensor->shape));
    if (tensor->dtype > DType::kBf16)
      fail(ErrorCode::kData, "{}: {}: expected a floating-point tensor, got {}", checkpoint.where(), name,
           describe(tensor->dtype, tensor->shape));
  }
  for (const TorchTensor& tensor : checkpoint.tensors()) {
    const auto name = troupe_name_of(tensor.name);
    if (!is_no_parameter(tensor.name) && (!name || !table.find_or_null(*name)))
      fail(ErrorCode::kData, "{}: {}: expected only tensors of the model of its settings, got {} of this name",
           checkpoint.where(), tensor.name, describe(tensor.dtype, tensor.shape));
  }
  check_tied_output(checkpoint, *checkpoint.find("decoder.embed_tokens.weight"));
}

void read_parameter(const FairseqCheckpoint& checkpoint, const Parameter& parameter, std::span<float> out) {
  checkpoint.read_f32(*checkpoint.find(fairseq_name_of(parameter.name).value()), out);
}

}  // namespace troupe
