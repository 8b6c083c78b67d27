#include "model/gguf/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "io/json_text.h"
#include "io/mapped_file.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

bool fits(const GgufTensor& tensor, const GgufPiece& piece) {
  Shape shape = tensor.shape;
  const Shape& expected = piece.in.shape;
  if (piece.expert >= 0) {
    if (shape.size() != expected.size() + 1 || piece.expert >= shape[0]) return false;
    shape.erase(shape.begin());
  }
  // A matrix of one row may be a vector.
  return shape == expected || (expected.size() == 2 && expected[0] == 1 && shape == Shape{expected[1]});
}

void check_frequencies(const GgufFile& file, const GgufTensor& tensor, const ModelConfig& config) {
  const std::vector<float> expected = gguf_frequencies(config);
  std::vector<float> divisors(static_cast<size_t>(num_elements(tensor.shape)));
  dequantize(tensor.type, tensor.bytes, divisors);
  bool equal = divisors.size() == expected.size();
  for (size_t j = 0; equal && j < divisors.size(); ++j)
    equal = std::abs(divisors[j] - expected[j]) <= 1e-4f * expected[j];
  if (!equal)
    fail(
        ErrorCode::kData,
        "{}: {}: expected what Llama 3.1's scaling by {} from a context of {} divides the {} frequencies by, got other "
        "values (a scaling that this decoder has no fact for)",
        file.where(), tensor.name, config.rope.factor, config.rope.original_context, expected.size());
}

}  // namespace

GgufModel::GgufModel(const std::filesystem::path& path) : file_(path), row_(&gguf_family(file_)) {
  HfConfig hf(hf_settings(file_, *row_), file_.where());
  config_ = hf_facts(hf);
  family_ = &hf_family(hf);
  for (const std::string& key : hf.unknown())
    if (hf.object().at(key) != 0)
      fail(ErrorCode::kData, "{}: {}: expected no such setting of {}, got {}", file_.where(), key, row_->architecture,
           json_text(hf.object().at(key)));
  if (config_.rope.scaling == RopeScaling::kLlama3)
    check_frequencies(file_, *file_.find_tensor(kGgufFrequencies), config_);
}

void GgufModel::check_against(const ParameterTable& table) const {
  std::unordered_set<std::string> used;
  for (const Parameter& parameter : table.entries())
    for (const GgufPiece& piece : gguf_pieces(*row_, config_, parameter)) {
      const GgufTensor* const tensor = file_.find_tensor(piece.name);
      if (!tensor)
        fail(ErrorCode::kData, "{}: {}: expected {}, got no such tensor", file_.where(),
             piece.name.empty() ? piece.in.tensor : piece.name, to_string(piece.in.shape));
      if (!fits(*tensor, piece))
        fail(ErrorCode::kData, "{}: {}: expected {}{} (by the settings), got {}", file_.where(), piece.name,
             to_string(piece.in.shape), piece.expert >= 0 ? " for each expert" : "", to_string(tensor->shape));
      used.insert(piece.name);
    }
  if (config_.rope.scaling == RopeScaling::kLlama3) used.insert(kGgufFrequencies);  // was checked
  if (config_.tied_output) used.insert("output.weight");                            // equal, if it is there
  for (const GgufTensor& tensor : file_.tensors())
    if (!used.contains(tensor.name))
      fail(ErrorCode::kData, "{}: {}: expected only tensors of the model of the settings, got this one {}",
           file_.where(), tensor.name, to_string(tensor.shape));
}

void GgufModel::read(const Parameter& parameter, std::span<float> out) const {
  const int64_t cols = parameter.shape.size() == 2 ? parameter.shape[1] : 1;
  const std::vector<GgufPiece> pieces = gguf_pieces(*row_, config_, parameter);
  if (pieces.front().in.row > 0) std::fill_n(out.begin(), pieces.front().in.row * cols, 0.0f);  // positions of no token
  for (const auto& [name, expert, piece] : pieces) {
    const GgufTensor& tensor = *file_.find_tensor(name);
    std::span<const uint8_t> bytes = tensor.bytes;
    if (expert >= 0) {
      const size_t each = bytes.size() / static_cast<size_t>(tensor.shape[0]);
      bytes = bytes.subspan(static_cast<size_t>(expert) * each, each);
    }
    Buffer<float> whole(num_elements(piece.shape));
    dequantize(tensor.type, bytes, whole.span());
    give_back_pages(bytes);
    const bool pairs = row_->pairs && in_rotary_pairs(name);
    for (int64_t r = 0; r < piece.rows; ++r) {
      const float* const from =
          whole.data() + piece.offset + (pairs ? row_of_pairs(r, config_.head_width()) : r) * piece.row_stride;
      float* const to = out.data() + (piece.row + r) * cols;
      for (int64_t c = 0; c < piece.cols; ++c) to[c] = from[c * piece.col_stride];
    }
  }
}

}  // namespace troupe
