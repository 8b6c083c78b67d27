#include "model/gguf/gguf_write.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "io/fields.h"
#include "io/json_config.h"
#include "model/decoder_parameters.h"
#include "model/gguf/gguf_families.h"
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
  GgufPiece piece;
};
struct GgufPlan {
  std::vector<GgufTensorToWrite> tensors;
  std::vector<std::vector<GgufPart>> parts;  // none: kGgufFrequencies
};

GgufPlan plan_of(const ModelConfig& config, const GgufFamily& family, GgmlType type) {
  GgufPlan plan;
  std::unordered_map<std::string, size_t> index;
  for (const Parameter& parameter : make_parameter_table(config).entries())
    for (GgufPiece& piece : gguf_pieces(family, config, parameter)) {
      const std::string& name = piece.name;
      if (name.empty())
        fail(ErrorCode::kUsage, "--to gguf: expected tensors that the format has a name for, got {}", piece.in.tensor);
      const auto [found, is_new] = index.emplace(name, plan.tensors.size());
      if (is_new) {
        Shape shape = piece.in.shape;
        if (piece.expert >= 0) shape.insert(shape.begin(), config.moe.num_experts);
        if (name.find("_inp_shexp.") != name.npos) shape.erase(shape.begin());  // a matrix of one row
        const bool narrow = shape.size() > 1 && name.find("ffn_gate_inp.") == name.npos;
        GgmlType stored = narrow ? type : GgmlType::kF32;
        if (shape.back() % ggml_format(stored).block_values != 0) {
          log::info("{}: rows of {} values are no whole blocks of {}: F16", name, shape.back(),
                    ggml_format(stored).name);
          stored = GgmlType::kF16;
        }
        plan.tensors.push_back({name, stored, shape});
        plan.parts.emplace_back();
      }
      plan.parts[found->second].push_back({parameter, std::move(piece)});
    }
  if (const int64_t count = std::ssize(gguf_frequencies(config)); count > 0 && family.frequencies) {
    plan.tensors.push_back({kGgufFrequencies, GgmlType::kF32, {count}});
    plan.parts.emplace_back();
  }
  return plan;
}

void fill(const std::vector<GgufPart>& parts, const GgufFamily& row, int64_t head_width, const ParameterSource& source,
          Buffer<float>& values, std::span<float> out) {
  const Parameter* read = nullptr;
  for (const auto& [parameter, place] : parts) {
    const auto& [name, expert, piece] = place;
    if (!read || read->name != parameter.name) {
      values.reserve(parameter.size());
      source(parameter, values.span().first(static_cast<size_t>(parameter.size())));
      read = &parameter;
    }
    const float* const from = values.data() + piece.row * piece.cols;
    float* const to = out.data() + (expert >= 0 ? expert * num_elements(piece.shape) : 0) + piece.offset;
    const bool pairs = row.pairs && in_rotary_pairs(name);
    for (int64_t r = 0; r < piece.rows; ++r)
      for (int64_t c = 0; c < piece.cols; ++c)
        to[(pairs ? row_of_pairs(r, head_width) : r) * piece.row_stride + c * piece.col_stride] =
            from[r * piece.cols + c];
  }
}

// Numbers of `theirs` that are those of `ours` but for the rounding of float32, which is what a file has.
void take_numbers_that_agree(ordered_json& theirs, const ordered_json& ours) {
  if (theirs.is_object())
    for (auto item = theirs.begin(); item != theirs.end(); ++item)
      if (const auto found = ours.find(item.key()); found != ours.end()) take_numbers_that_agree(item.value(), *found);
  if (!theirs.is_number_float() || !ours.is_number_float()) return;
  const auto a = theirs.get<double>(), b = ours.get<double>();
  if (std::abs(a - b) <= 1e-6 * std::max(std::abs(a), std::abs(b))) theirs = ours;
}

// What the file says otherwise than the settings, training apart.
std::vector<std::string> lost_in_gguf(const fs::path& path, const ordered_json& settings, const GgufFamily& row) {
  const GgufFile file(path);
  HfConfig meant(settings, "the model"), said(hf_settings(file, row), path.string());
  ModelConfig ours = hf_facts(meant), theirs = hf_facts(said);
  FieldList their_fields = fields_of(theirs);
  ordered_json numbers = to_json(their_fields);
  take_numbers_that_agree(numbers, to_json(fields_of(ours)));
  from_json(numbers, "the model", their_fields);
  theirs.dropout = ours.dropout, theirs.attention_dropout = ours.attention_dropout, theirs.pad_id = ours.pad_id;
  theirs.moe.aux_loss_weight = ours.moe.aux_loss_weight;
  if (ours.eos_id < 0) theirs.eos_id = ours.eos_id;
  return differences(fields_of(ours), their_fields, "the model", row.architecture);
}

}  // namespace

int64_t write_gguf_model(const fs::path& path, const ModelConfig& config, GgmlType type, const GgufMetadata& tokenizer,
                         const ParameterSource& source) {
  const HfFamily& family = hf_family_for(config, "auto");
  const GgufFamily& row = gguf_family_of(family);
  const ordered_json settings = settings_of(config, family);
  const GgufPlan plan = plan_of(config, row, type);
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
      if (plan.parts[i].empty())
        std::ranges::copy(gguf_frequencies(config), out.begin());
      else
        fill(plan.parts[i], row, config.head_width(), source, values, out);
      writer.append(out);
    }
    writer.finish();
  });
  std::string facts;
  for (const std::string& fact : lost_in_gguf(whole, settings, row)) facts += (facts.empty() ? "" : "; ") + fact;
  // llama.cpp's norm of keys is as wide as that of queries.
  if (row.architecture == "olmoe" && config.num_kv_heads() != config.num_heads)
    facts += fmt::format("{}kv_heads: {} in the model, {} in olmoe", facts.empty() ? "" : "; ", config.num_kv_heads(),
                         config.num_heads);
  if (row.own_output && config.tied_output)
    facts += fmt::format("{}tied_output: true in the model, false in {}", facts.empty() ? "" : "; ", row.architecture);
  if (!facts.empty()) {
    fs::remove(whole);
    fail(ErrorCode::kUsage, "--to gguf: expected a model that the architecture {} can say, got {}", row.architecture,
         facts);
  }
  fs::rename(whole, path);
  return static_cast<int64_t>(plan.tensors.size());
}

}  // namespace troupe
