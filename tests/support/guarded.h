// A matrix for tests of kernels: any stride and misalignment, and a pattern around it that no one may touch.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tensor/matrix.h"

namespace troupe::test {

struct Layout {
  int64_t padding = 0;  // elements between the rows
  int64_t offset = 0;   // elements by which the first row is off a 64-byte boundary
};

template <class T>
class Guarded {
 public:
  Guarded(int64_t rows, int64_t cols, Layout layout = {})
      : rows_(rows), cols_(cols), stride_(cols + layout.padding), first_(kMargin + layout.offset) {
    bytes_.assign(static_cast<size_t>((first_ + rows * stride_ + kMargin)) * sizeof(T) + 64, kPattern);
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    base_ = reinterpret_cast<T*>((address + 63) / 64 * 64);
  }
  Guarded(const Guarded&) = delete;

  Matrix<T> view() { return {base_ + first_, rows_, cols_, stride_}; }
  Matrix<const T> view() const { return {base_ + first_, rows_, cols_, stride_}; }
  T& operator()(int64_t i, int64_t j) const { return base_[first_ + i * stride_ + j]; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

  void fill(double value) {
    for_each([&](int64_t, int64_t) { return value; });
  }
  void fill_normal(uint64_t seed, double scale = 1.0) {
    Rng rng(seed);
    for_each([&](int64_t, int64_t) { return scale * rng.normal(); });
  }
  // value(i, j) is a double
  template <class Value>
  void for_each(const Value& value) {
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t j = 0; j < cols_; ++j) (*this)(i, j) = static_cast<T>(value(i, j));
  }

  void expect_guards_intact(const std::string& what) const {
    const auto* first = bytes_.data();
    const auto* last = first + bytes_.size();
    int64_t damaged = 0;
    for (const unsigned char* byte = first; byte < last; ++byte) {
      const int64_t element = (byte - reinterpret_cast<const unsigned char*>(base_)) / static_cast<int64_t>(sizeof(T)) -
                              first_ - (byte < reinterpret_cast<const unsigned char*>(base_) ? 1 : 0);
      const bool inside = element >= 0 && stride_ > 0 && element / stride_ < rows_ && element % stride_ < cols_;
      if (!inside && *byte != kPattern) ++damaged;
    }
    EXPECT_EQ(damaged, 0) << what << ": bytes outside the matrix were written";
  }

 private:
  static constexpr int64_t kMargin = 64;
  static constexpr unsigned char kPattern = 0xA5;
  int64_t rows_, cols_, stride_, first_;
  std::vector<unsigned char> bytes_;
  T* base_;
};

}  // namespace troupe::test
