// A matrix whose elements the host reads and writes. Views that only pass through are Matrix, which has no access to
// elements: they may lie in a device's memory. The test unit/host_access knows who may include this.
#pragma once

#include <type_traits>

#include "tensor/matrix.h"

namespace troupe {

template <class T>
struct HostMatrix : Matrix<T> {
  using Matrix<T>::Matrix;
  HostMatrix() = default;
  HostMatrix(const Matrix<T>& matrix) : Matrix<T>(matrix) {}  // NOLINT: the same bytes, in the hands of the host
  template <class U>
  requires std::is_same_v<const U, T> HostMatrix(const Matrix<U>& matrix) : Matrix<T>(matrix) {}  // NOLINT: to const

  T* row(int64_t i) const { return this->data + i * this->stride; }
  T& operator()(int64_t i, int64_t j) const { return this->data[i * this->stride + j]; }
  HostMatrix rows_from(int64_t begin, int64_t count) const { return Matrix<T>::rows_from(begin, count); }
};

template <class T>
HostMatrix(const Matrix<T>&) -> HostMatrix<T>;
template <class T>
HostMatrix(T*, int64_t, int64_t) -> HostMatrix<T>;

}  // namespace troupe
