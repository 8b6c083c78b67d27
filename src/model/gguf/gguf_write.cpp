#include "model/gguf/gguf_write.h"

#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "io/fields.h"
#include "model/decoder_parameters.h"
#include "model/gguf/gguf_families.h"
#include "model/hf/hf_model.h"
#include "model/hf/hf_write.h"
#include "tensor/buffer.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

const GgufFamily& gguf_family_of(const HfFamily& family) {
  std::string names;
  for (const GgufFamily& row : gguf_families()) {
    if (row.model_type == family.model_type) return row;
    names += (names.empty() ? "" : ", ") + std::string(row.model_type);
  }
  fail(ErrorCode::kUsage, "--to gguf: expected a model of one of the families {}, got {}", names, family.model_type);
}

ordered_json settings_of(const ModelConfig& config, const HfFamily& family) {
  HfConfig hf;
  hf.set("model_type", family.model_type);
  ModelConfig copy = config;
  family.facts(hf, copy);
  return hf.object();
}

// Which parameters make a tensor of the file.
struct GgufPart {
  Parameter parameter;
  HfPiece piece;
  int64_t expert;
};
struct GgufPlan {
  std::vector<GgufTensorToWrite> tensors;
  std::vector<std::vector<GgufPart>> parts;
};

GgufPlan plan_of(const ModelConfig& config, const HfFamily& family, GgmlType type) {
  GgufPlan plan;
  std::unordered_map<std::string, size_t> index;
  for (const Parameter& parameter : make_parameter_table(config).entries())
    for (HfPiece& piece : hf_pieces(family, config, parameter)) {
      const GgufPlace place = gguf_place(piece.tensor);
      if (place.name.empty())
        fail(ErrorCode::kUsage, "--to gguf: expected tensors that the format has a name for, got {}", piece.tensor);
      const auto [found, is_new] = index.emplace(place.name, plan.tensors.size());
      if (is_new) {
        Shape shape = piece.shape;
        if (place.expert >= 0) shape.insert(shape.begin(), config.moe.num_experts);
        if (place.name.find("_inp_shexp.") != place.name.npos) shape.erase(shape.begin());  // a matrix of one row
        const bool narrow = shape.size() > 1 && place.name.find("ffn_gate_inp.") == place.name.npos;
        GgmlType stored = narrow ? type : GgmlType::kF32;
        if (shape.back() % ggml_format(stored).block_values != 0) {
          log::info("{}: rows of {} values are no whole blocks of {}: F16", place.name, shape.back(),
                    ggml_format(stored).name);
          stored = GgmlType::kF16;
        }
        plan.tensors.push_back({place.name, stored, shape});
        plan.parts.emplace_back();
      }
      plan.parts[found->second].push_back({parameter, std::move(piece), place.expert});
    }
  return plan;
}

void fill(const std::vector<GgufPart>& parts, const GgufFamily& row, int64_t head_width, const ParameterSource& source,
          Buffer<float>& values, std::span<float> out) {
  const Parameter* read = nullptr;
  for (const auto& [parameter, piece, expert] : parts) {
    if (!read || read->name != parameter.name) {
      values.reserve(parameter.size());
      source(parameter, values.span().first(static_cast<size_t>(parameter.size())));
      read = &parameter;
    }
    const float* const from = values.data() + piece.row * piece.cols;
    float* const to = out.data() + (expert >= 0 ? expert * num_elements(piece.shape) : 0) + piece.offset;
    const bool pairs = row.pairs && in_rotary_pairs(gguf_place(piece.tensor).name);
    for (int64_t r = 0; r < piece.rows; ++r)
      for (int64_t c = 0; c < piece.cols; ++c)
        to[(pairs ? row_of_pairs(r, head_width) : r) * piece.row_stride + c * piece.col_stride] =
            from[r * piece.cols + c];
  }
}

// What the file says otherwise than the settings, training apart.
std::vector<std::string> lost_in_gguf(const fs::path& path, const ordered_json& settings, const GgufFamily& row) {
  const GgufFile file(path);
  HfConfig meant(settings, "the model"), said(hf_settings(file, row), path.string());
  const ModelConfig ours = hf_facts(meant);
  ModelConfig theirs = hf_facts(said);
  theirs.dropout = ours.dropout, theirs.attention_dropout = ours.attention_dropout, theirs.pad_id = ours.pad_id;
  theirs.moe.aux_loss_weight = ours.moe.aux_loss_weight;
  if (ours.eos_id < 0) theirs.eos_id = ours.eos_id;
  return differences(fields_of(ours), fields_of(theirs), "the model", row.architecture);
}

}  // namespace

int64_t write_gguf_model(const fs::path& path, const ModelConfig& config, GgmlType type, const GgufMetadata& tokenizer,
                         const ParameterSource& source) {
  const HfFamily& family = hf_family_for(config, "auto");
  const GgufFamily& row = gguf_family_of(family);
  const ordered_json settings = settings_of(config, family);
  const GgufPlan plan = plan_of(config, family, type);
  GgufMetadata metadata = gguf_settings(settings, row);
  metadata.insert(metadata.end(), tokenizer.begin(), tokenizer.end());
  if (config.eos_id >= 0) {  // the model's word
    std::erase_if(metadata, [](const auto& entry) { return entry.first == kGgufEndOfText; });
    metadata.emplace_back(kGgufEndOfText, GgufValue::u32(config.eos_id));
  }
  // Into a file beside it first: what it cannot say is known once it can be read.
  const fs::path whole = temporary_name(path);
  write_file_atomically(whole, [&](FileWriter& file) {
    GgufWriter writer(file, metadata, plan.tensors);
    Buffer<float> values, room;
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
      const int64_t size = num_elements(plan.tensors[i].shape);
      room.reserve(size);
      const std::span<float> out = room.span().first(static_cast<size_t>(size));
      fill(plan.parts[i], row, config.head_width(), source, values, out);
      writer.append(out);
    }
    writer.finish();
  });
  std::string facts;
  for (const std::string& fact : lost_in_gguf(whole, settings, row)) facts += (facts.empty() ? "" : "; ") + fact;
  if (!facts.empty()) {
    fs::remove(whole);
    fail(ErrorCode::kUsage, "--to gguf: expected a model that the architecture {} can say, got {}", row.architecture,
         facts);
  }
  fs::rename(whole, path);
  return static_cast<int64_t>(plan.tensors.size());
}

}  // namespace troupe
