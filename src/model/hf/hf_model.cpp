#include "model/hf/hf_model.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "io/json_config.h"
#include "io/json_file.h"
#include "tensor/buffer.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

constexpr const char* kHfConfigFile = "config.json";

HfConfig open_hf_config(const fs::path& folder) {
  const fs::path path = folder / kHfConfigFile;
  return {ordered_json(read_json_file(path)), path.string()};
}

// Each key once: several parts of a command read the same file.
void warn_of_unknown(const HfConfig& hf) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  for (const std::string& key : hf.unknown())
    if (said.insert(hf.where() + ": " + key).second)
      log::warning("{}: {}: not a setting of {} that Troupe knows, ignored", hf.where(), key, hf_family(hf).model_type);
}

// A parameter's name below its layer, with {} for the number of an expert.
std::string pattern_of(const Parameter& parameter) {
  std::string name = parameter.name;
  if (parameter.layer >= 0) name = name.substr(fmt::format("layers.{}.", parameter.layer).size());
  if (parameter.expert >= 0) {
    const std::string number = fmt::format("experts.{}.", parameter.expert);
    name.replace(name.find(number), number.size(), "experts.{}.");
  }
  return name;
}

const HfName* row_of(const HfFamily& family, const Parameter& parameter, const std::string& pattern) {
  const auto lists = parameter.layer < 0 ? std::array{family.names, std::span<const HfName>()}
                                         : std::array{family.layer_names, family.more_names};
  for (const std::span<const HfName> rows : lists)
    for (const HfName& row : rows)
      if (pattern.starts_with(row.ours)) return &row;
  return nullptr;
}

}  // namespace

ModelConfig hf_facts(HfConfig& hf) {
  ModelConfig config;
  hf_family(hf).facts(hf, config);
  FieldList fields = fields_of(config);
  from_json(to_json(fields), hf.where(), fields);  // checks the ranges: the file may say anything
  try {
    check(config, hf.where());
  } catch (const Error& error) {
    throw Error(ErrorCode::kData, error.what());
  }
  return config;
}

bool is_hf_model(const fs::path& folder) {
  const fs::path path = folder / kHfConfigFile;
  if (!fs::is_regular_file(path)) return false;
  const nlohmann::json object = read_json_file(path);
  return object.is_object() && !object.contains("format") && object.contains("model_type");
}

ModelConfig read_hf_config(const fs::path& folder) {
  HfConfig hf = open_hf_config(folder);
  const ModelConfig config = hf_facts(hf);
  warn_of_unknown(hf);
  return config;
}

std::vector<HfPiece> hf_pieces(const HfFamily& family, const ModelConfig& config, const Parameter& parameter) {
  const std::string pattern = pattern_of(parameter);
  const HfName* const row = row_of(family, parameter, pattern);
  if (!row)
    fail(ErrorCode::kData, "{}: the family {} has no tensor for this parameter", parameter.name, family.model_type);
  const std::string rest = pattern.substr(row->ours.size());
  const auto full = [&](std::string_view theirs) {
    std::string name = parameter.layer < 0 ? "" : fmt::format("{}{}.", family.layers, parameter.layer);
    name.append(theirs).append(rest);
    if (const size_t at = name.find("{}"); at != name.npos) name.replace(at, 2, std::to_string(parameter.expert));
    return name;
  };
  const Shape& shape = parameter.shape;
  const int64_t rows = shape.front(), cols = shape.size() == 2 ? shape[1] : 1;
  const bool matrix = shape.size() == 2;
  const auto with_rows = [&](int64_t count) {
    Shape other = shape;
    other.front() = count;
    return other;
  };
  const HfPiece same = {full(row->theirs), shape, 0, 0, rows, cols, cols, 1};
  switch (row->layout) {
    case HfLayout::kSame:
      return {same};
    case HfLayout::kTransposed:
      if (!matrix) return {same};
      return {{same.tensor, {cols, rows}, 0, 0, rows, cols, 1, rows}};
    case HfLayout::kThird:
      if (!matrix) return {{same.tensor, {3 * rows}, row->third * rows, 0, rows, 1, 1, 1}};
      return {{same.tensor, {cols, 3 * rows}, row->third * rows, 0, rows, cols, 1, 3 * rows}};
    case HfLayout::kHeadThird: {
      std::vector<HfPiece> heads;
      const int64_t C = config.head_width();
      for (int64_t head = 0; head < config.num_heads; ++head)
        heads.push_back({same.tensor, with_rows(3 * rows), (3 * head + row->third) * C * cols, head * C, C, cols, cols, 1});
      return heads;
    }
    case HfLayout::kRowThird:
      return {{same.tensor, with_rows(3 * rows), row->third * rows * cols, 0, rows, cols, cols, 1}};
    case HfLayout::kAbove: {
      const int64_t half = rows / 2;
      return {{same.tensor, with_rows(half), 0, 0, half, cols, cols, 1},
              {full(row->second), with_rows(half), 0, half, half, cols, cols, 1}};
    }
    case HfLayout::kSlab: {
      Shape slab = shape;
      slab.insert(slab.begin(), config.moe.num_experts);
      return {{same.tensor, slab, parameter.expert * rows * cols, 0, rows, cols, cols, 1}};
    }
    case HfLayout::kPositions:
      return {{same.tensor, with_rows(rows - 2), 0, 2, rows - 2, cols, cols, 1}};
  }
  return {};
}

HfModel::HfModel(const fs::path& folder) : tensors_(folder) {
  HfConfig hf = open_hf_config(folder);
  config_ = hf_facts(hf);
  family_ = &hf_family(hf);
}

const TensorView* HfModel::find(const std::string& name) const {
  if (const TensorView* const tensor = tensors_.find(name)) return tensor;
  return name.starts_with(family_->base) ? tensors_.find(name.substr(family_->base.size())) : nullptr;
}

void HfModel::check_against(const ParameterTable& table) const {
  std::unordered_set<const TensorView*> used;
  for (const Parameter& parameter : table.entries())
    for (const HfPiece& piece : hf_pieces(*family_, config_, parameter)) {
      const TensorView* const tensor = find(piece.tensor);
      if (!tensor)
        fail(ErrorCode::kData, "{}: {}: expected {}, got no such tensor", where(), piece.tensor, to_string(piece.shape));
      if (tensor->shape != piece.shape)
        fail(ErrorCode::kData, "{}: {}: expected {} (by config.json), got {}", where(), piece.tensor,
             to_string(piece.shape), describe(tensor->dtype, tensor->shape));
      if (tensor->dtype > DType::kBf16)
        fail(ErrorCode::kData, "{}: {}: expected a floating-point tensor, got {}", where(), piece.tensor,
             describe(tensor->dtype, tensor->shape));
      used.insert(tensor);
    }
  for (const TensorView* tensor : tensors_.tensors()) {
    // Tables and masks that older releases stored, which are computed.
    const bool computed = tensor->name.ends_with("rotary_emb.inv_freq") || tensor->name.ends_with(".attn.bias") ||
                          tensor->name.ends_with(".masked_bias") || tensor->name.ends_with("attention.bias") ||
                          tensor->name.ends_with(".embed_positions.weights");
    const bool tied = config_.tied_output && (tensor->name == "lm_head.weight" || tensor->name == "embed_out.weight");
    if (tied) {
      const TensorView* const embedding = find(hf_pieces(*family_, config_, table.find("embed_tokens.weight"))[0].tensor);
      if (tensor->bytes.size() != embedding->bytes.size() ||
          !std::equal(tensor->bytes.begin(), tensor->bytes.end(), embedding->bytes.begin()))
        log::warning("{}: {}: not the token embedding, ignored (config.json says that they are tied)", where(),
                     tensor->name);
    }
    if (!used.contains(tensor) && !computed && !tied)
      fail(ErrorCode::kData, "{}: {}: expected only tensors of the model of config.json, got {} of this name", where(),
           tensor->name, describe(tensor->dtype, tensor->shape));
  }
}

void HfModel::read(const Parameter& parameter, std::span<float> out) const {
  const int64_t cols = parameter.shape.size() == 2 ? parameter.shape[1] : 1;
  const std::vector<HfPiece> pieces = hf_pieces(*family_, config_, parameter);
  if (pieces.front().row > 0) std::fill_n(out.begin(), pieces.front().row * cols, 0.0f);
  for (const HfPiece& piece : pieces) {
    const TensorView& tensor = *find(piece.tensor);
    const std::span<float> rows =
        out.subspan(static_cast<size_t>(piece.row * cols), static_cast<size_t>(piece.rows * cols));
    if (piece.row_stride == piece.cols && piece.col_stride == 1) {
      TensorView part = tensor;
      const auto size = static_cast<size_t>(size_of(tensor.dtype));
      part.bytes = tensor.bytes.subspan(static_cast<size_t>(piece.offset) * size, rows.size() * size);
      part.shape = {static_cast<int64_t>(rows.size())};
      convert_to_f32(part, rows, where());
      tensors_.give_back(part.bytes);
      continue;
    }
    Buffer<float> whole(num_elements(tensor.shape));
    convert_to_f32(tensor, whole.span(), where());
    for (int64_t r = 0; r < piece.rows; ++r)
      for (int64_t c = 0; c < piece.cols; ++c)
        rows[static_cast<size_t>(r * piece.cols + c)] =
            whole.data()[piece.offset + r * piece.row_stride + c * piece.col_stride];
  }
}

}  // namespace troupe
