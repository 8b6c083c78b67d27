// A tensor that owns its memory, for files and tables: dtype and shape are known at run time. Kernels take Matrix or
// span instead.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace troupe {

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape)
      : dtype_(dtype), shape_(std::move(shape)), count_(num_elements(shape_)), raw_(count_ * size_of(dtype)) {}
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape) {
    Tensor tensor(dtype_of<T>(), std::move(shape));
    std::memcpy(tensor.bytes(), values.data(), values.size_bytes());
    return tensor;
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return count_; }
  int64_t size_bytes() const { return count_ * size_of(dtype_); }
  void* bytes() { return raw_.data(); }
  const void* bytes() const { return raw_.data(); }
  template <class T>
  std::span<T> as() {  // the caller has checked dtype()
    return {static_cast<T*>(raw_.data()), static_cast<size_t>(count_)};
  }
  template <class T>
  std::span<const T> as() const {
    return {static_cast<const T*>(raw_.data()), static_cast<size_t>(count_)};
  }

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  int64_t count_ = 0;
  RawBuffer raw_;
};

}  // namespace troupe
