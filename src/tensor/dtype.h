// Element types of tensors in files and tables.
#pragma once

#include <cstdint>
#include <string_view>

#include "tensor/bf16.h"

namespace troupe {

enum class DType : uint8_t { kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU8, kBool };

int64_t size_of(DType dtype);                               // bytes of one element
std::string_view name_of(DType dtype);                      // the safetensors name: "F32", "BF16", "I64", ...
bool dtype_from_name(std::string_view name, DType& dtype);  // false if unknown

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<double>() {
  return DType::kF64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::kF32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::kBf16;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::kU8;
}

}  // namespace troupe
