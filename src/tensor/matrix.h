// A view of a row-major matrix: does not own. Rows may be further apart than their length (stride, in elements). It may
// lie in a device's memory, so it has no access to elements: kernels have, through HostMatrix (host_matrix.h).
#pragma once

#include <cstdint>
#include <type_traits>

namespace troupe {

template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;

  Matrix() = default;
  Matrix(T* data, int64_t rows, int64_t cols) : Matrix(data, rows, cols, cols) {}
  Matrix(T* data, int64_t rows, int64_t cols, int64_t stride) : data(data), rows(rows), cols(cols), stride(stride) {}
  template <class U>
  requires std::is_same_v<const U, T> Matrix(const Matrix<U>& other)
      : Matrix(other.data, other.rows, other.cols, other.stride) {}  // NOLINT: to const

  explicit operator bool() const { return data != nullptr; }
  Matrix rows_from(int64_t begin, int64_t count) const { return {data + begin * stride, count, cols, stride}; }
  Matrix columns_from(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
};

}  // namespace troupe
