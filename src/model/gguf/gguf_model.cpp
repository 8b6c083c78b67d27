#include "model/gguf/gguf_model.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "io/mapped_file.h"
#include "model/hf/hf_model.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

// The shape of the part that a piece needs: an expert's, or all of the tensor.
Shape part_shape(const GgufTensor& tensor, const GgufPlace& place) {
  Shape shape = tensor.shape;
  if (place.expert >= 0 && !shape.empty()) shape.erase(shape.begin());
  return shape;
}

bool fits(const GgufTensor& tensor, const GgufPlace& place, const HfPiece& piece) {
  if (place.expert >= 0 && (tensor.shape.size() != piece.shape.size() + 1 || place.expert >= tensor.shape[0]))
    return false;
  const Shape shape = part_shape(tensor, place);
  // A matrix of one row may be a vector.
  return shape == piece.shape || (piece.shape.size() == 2 && piece.shape[0] == 1 && shape == Shape{piece.shape[1]});
}

}  // namespace

GgufModel::GgufModel(const std::filesystem::path& path) : file_(path), row_(&gguf_family(file_)) {
  HfConfig hf(hf_settings(file_, *row_), file_.where());
  config_ = hf_facts(hf);
  family_ = &hf_family(hf);
}

void GgufModel::check_against(const ParameterTable& table) const {
  std::unordered_set<std::string> used;
  for (const Parameter& parameter : table.entries())
    for (const HfPiece& piece : hf_pieces(*family_, config_, parameter)) {
      const GgufPlace place = gguf_place(piece.tensor);
      const GgufTensor* const tensor = file_.find_tensor(place.name);
      if (!tensor)
        fail(ErrorCode::kData, "{}: {}: expected {}, got no such tensor", file_.where(),
             place.name.empty() ? piece.tensor : place.name, to_string(piece.shape));
      if (!fits(*tensor, place, piece))
        fail(ErrorCode::kData, "{}: {}: expected {}{} (by the settings), got {}", file_.where(), place.name,
             to_string(piece.shape), place.expert >= 0 ? " for each expert" : "", to_string(tensor->shape));
      used.insert(place.name);
    }
  for (const GgufTensor& tensor : file_.tensors())
    if (!used.contains(tensor.name))
      fail(ErrorCode::kData, "{}: {}: expected only tensors of the model of the settings, got this one {}",
           file_.where(), tensor.name, to_string(tensor.shape));
}

void GgufModel::read(const Parameter& parameter, std::span<float> out) const {
  const int64_t cols = parameter.shape.size() == 2 ? parameter.shape[1] : 1;
  for (const HfPiece& piece : hf_pieces(*family_, config_, parameter)) {
    const GgufPlace place = gguf_place(piece.tensor);
    const GgufTensor& tensor = *file_.find_tensor(place.name);
    std::span<const uint8_t> bytes = tensor.bytes;
    if (place.expert >= 0) {
      const size_t each = bytes.size() / static_cast<size_t>(tensor.shape[0]);
      bytes = bytes.subspan(static_cast<size_t>(place.expert) * each, each);
    }
    Buffer<float> whole(num_elements(piece.shape));
    dequantize(tensor.type, bytes, whole.span());
    give_back_pages(bytes);
    const bool pairs = row_->pairs && in_rotary_pairs(place.name);
    for (int64_t r = 0; r < piece.rows; ++r) {
      const float* const from =
          whole.data() + piece.offset + (pairs ? row_of_pairs(r, config_.head_width()) : r) * piece.row_stride;
      float* const to = out.data() + (piece.row + r) * cols;
      for (int64_t c = 0; c < piece.cols; ++c) to[c] = from[c * piece.col_stride];
    }
  }
}

}  // namespace troupe
