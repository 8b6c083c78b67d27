#include "model/hf/hf_write.h"

#include <cmath>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "io/fields.h"
#include "io/json_file.h"
#include "model/decoder_parameters.h"
#include "model/hf/hf_model.h"
#include "tensor/buffer.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

// The same model in one form: what is derived is spelled out, and what plays no part in its outputs has its default.
ModelConfig canonical(ModelConfig c) {
  const ModelConfig usual;
  const double sqrt_D = std::sqrt(static_cast<double>(c.d_model));
  c.head_dim = c.head_width(), c.kv_heads = c.num_kv_heads();
  if (c.scale_embedding) c.scale_embedding = false, c.embedding_multiplier *= sqrt_D;
  if (c.attention_multiplier == 0) c.attention_multiplier = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  if (c.norm == Norm::kRms) c.norm_bias = usual.norm_bias;
  if (c.activation != FfnActivation::kGelu) c.gelu = usual.gelu;
  if (c.window == 0) c.window_from = 0;
  c.dropout = c.attention_dropout = 0.0, c.pad_id = -1, c.init = usual.init;
  RopeConfig rope;
  if (c.positions == Positions::kRotary) {
    rope.theta = c.rope.theta, rope.part = c.rope.part, rope.scaling = c.rope.scaling;
    if (rope.scaling != RopeScaling::kNone) rope = c.rope;
    if (rope.scaling == RopeScaling::kDynamic && rope.original_context == c.context) rope.original_context = 0;
  }
  c.rope = rope;
  MoeConfig moe;
  if (c.num_moe_layers() > 0) {
    moe.num_experts = c.moe.num_experts, moe.every = c.moe.every, moe.first_layer = c.moe.first_layer;
    moe.top_k = c.moe.top_k, moe.expert_d_ff = c.expert_d_ff(), moe.capacity = c.moe.capacity;
    moe.shared_d_ff = c.moe.shared_d_ff, moe.shared_gate = c.moe.shared_gate;
    moe.router = c.moe.router, moe.score = c.moe.score, moe.balance_bias = c.moe.balance_bias;
    moe.groups = c.moe.groups, moe.groups_kept = c.moe.groups_kept, moe.output_scale = c.moe.output_scale;
    if (c.moe.chance_in_eval) moe.chance_in_eval = true, moe.second_choice = c.moe.second_choice;
    const bool never_drops = c.moe.capacity == Capacity::kDropless && c.moe.normalize == Normalize::kAfterDropping;
    moe.normalize = never_drops ? Normalize::kBeforeDropping : c.moe.normalize;
    if (c.num_moe_layers() == c.num_layers) c.d_ff = moe.expert_d_ff;
  }
  c.moe = moe;
  return c;
}

ordered_json settings(const ModelConfig& config, const HfFamily& family) {
  HfConfig hf;
  hf.set("architectures", {family.architecture});
  hf.set("model_type", family.model_type);
  ModelConfig copy = config;
  family.facts(hf, copy);
  return hf.object();
}

// The facts that the family's settings lose, one line each; parameters without a name count.
std::vector<std::string> lost_facts(const ModelConfig& config, const HfFamily& family) {
  HfConfig hf(settings(config, family), "config.json");
  ModelConfig back;
  family.facts(hf, back);
  const ModelConfig ours = canonical(config), theirs = canonical(back);
  return differences(fields_of(ours), fields_of(theirs), "the model", family.model_type);
}

}  // namespace

const HfFamily* find_hf_family(const ModelConfig& config, const std::string& before) {
  const HfFamily* first = nullptr;
  for (const HfFamily& family : hf_families()) {
    if ((first && family.model_type != before) || !lost_facts(config, family).empty()) continue;
    if (family.model_type == before) return &family;
    first = &family;
  }
  return first;
}

const HfFamily& hf_family_for(const ModelConfig& config, const std::string& name, const std::string& before) {
  if (name == "auto")
    if (const HfFamily* const family = find_hf_family(config, before)) return *family;
  const HfFamily* nearest = nullptr;
  std::vector<std::string> fewest;
  std::string names;
  for (const HfFamily& family : hf_families()) {
    names += (names.empty() ? "" : ", ") + std::string(family.model_type);
    if (name != "auto" && name != family.model_type) continue;
    std::vector<std::string> lost = lost_facts(config, family);
    if (lost.empty()) return family;
    if (!nearest || lost.size() < fewest.size()) nearest = &family, fewest = std::move(lost);
  }
  if (!nearest) fail(ErrorCode::kUsage, "--family: expected auto or one of {}, got {}", names, name);
  std::string facts;
  for (const std::string& fact : fewest) facts += (facts.empty() ? "" : "; ") + fact;
  fail(ErrorCode::kUsage, "--to hf: expected a model that {} can say, got {}{}",
       name == "auto" ? "one of the families " + names : "the family " + name, facts,
       name == "auto" ? fmt::format(" (the nearest is {})", nearest->model_type) : "");
}

int64_t write_hf_model(const fs::path& folder, const ModelConfig& config, const HfFamily& family,
                       const ParameterSource& source, const SaveOptions& options) {
  if (family.ours)
    log::warning("--to hf: {}: a schema of Troupe's (docs/formats/huggingface.md), which transformers has no class for",
                 family.model_type);
  // Which parameters make a tensor, in the order of the tensors' first ones.
  struct Part {
    Parameter parameter;
    HfPiece piece;
  };
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<Part>> parts;
  std::unordered_map<std::string, size_t> index;
  for (const Parameter& parameter : make_parameter_table(config).entries())
    for (HfPiece& piece : hf_pieces(family, config, parameter)) {
      const auto [found, is_new] = index.emplace(piece.tensor, tensors.size());
      if (is_new) tensors.push_back({piece.tensor, piece.shape}), parts.emplace_back();
      parts[found->second].push_back({parameter, std::move(piece)});
    }
  for (size_t i = 0; i < tensors.size(); ++i) {  // each value of a file is one of the model's
    int64_t size = 0;
    for (const Part& part : parts[i]) size += part.piece.rows * part.piece.cols;
    if (size != num_elements(tensors[i].shape))
      fail(ErrorCode::kInternal, "{}: expected parts of {} values, got {}", tensors[i].name,
           num_elements(tensors[i].shape), size);
  }
  Buffer<float> values;
  write_tensors(
      folder, tensors,
      [&](size_t i, std::span<float> out) {
        const Parameter* read = nullptr;
        for (const Part& part : parts[i]) {
          const HfPiece& piece = part.piece;
          const auto size = static_cast<size_t>(part.parameter.size());
          if (!read || read->name != part.parameter.name) {
            values.reserve(part.parameter.size());
            source(part.parameter, values.span().first(size));
            read = &part.parameter;
          }
          const float* const rows = values.data() + piece.row * piece.cols;
          for (int64_t r = 0; r < piece.rows; ++r)
            for (int64_t c = 0; c < piece.cols; ++c)
              out[static_cast<size_t>(piece.offset + r * piece.row_stride + c * piece.col_stride)] =
                  rows[r * piece.cols + c];
        }
      },
      options);
  ordered_json object = settings(config, family);
  object["torch_dtype"] = options.dtype == DType::kBf16 ? "bfloat16" : "float32";
  write_json_file(folder / "config.json", object);
  return static_cast<int64_t>(tensors.size());
}

}  // namespace troupe
