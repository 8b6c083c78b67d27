// A tensor in somebody else's bytes (a mapped file), row-major and unaligned, and its conversion to float32.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace troupe {

struct TensorView {
  std::string name = {};
  DType dtype = DType::kF32;
  Shape shape = {};
  std::span<const uint8_t> bytes = {};  // num_elements(shape) * size_of(dtype), little-endian

  int64_t size() const { return static_cast<int64_t>(bytes.size()) / size_of(dtype); }
};

// Converts F64, F32, F16 or BF16 values to float32 (F64 rounds to nearest), with all threads for large tensors.
// `out` has exactly tensor.size() elements. Throws kData for other dtypes: "where: name: expected a floating-point
// dtype, got I64".
void convert_to_f32(const TensorView& tensor, std::span<float> out, const std::string& where);

// "F32 [8, 1408, 512]" for messages.
std::string describe(DType dtype, const Shape& shape);

}  // namespace troupe
