// Four neighbouring elements of a row at a time, in one load or store where they start at a multiple of their size.
#pragma once

#include <cstdint>

#include "kernels/cuda/grid.h"

namespace troupe::cuda {

template <class T>
struct alignas(4 * sizeof(T)) Four {
  T values[4];
};

template <class T>
TROUPE_KERNEL bool is_four(const T* data, int count) {
  return count == 4 && reinterpret_cast<uintptr_t>(data) % sizeof(Four<T>) == 0;
}

// The first `count`; those after them are 0.
template <class T>
TROUPE_KERNEL void load_four(const T* data, int count, float (&out)[4]) {
  if (is_four(data, count)) {
    const Four<T> four = *reinterpret_cast<const Four<T>*>(data);
    for (int i = 0; i < 4; ++i) out[i] = static_cast<float>(four.values[i]);
  } else {
    for (int i = 0; i < 4; ++i) out[i] = i < count ? static_cast<float>(data[i]) : 0.0f;
  }
}

template <class T>
TROUPE_KERNEL void store_four(T* data, int count, const float (&values)[4]) {
  if (is_four(data, count)) {
    Four<T> four;
    for (int i = 0; i < 4; ++i) four.values[i] = static_cast<T>(values[i]);
    *reinterpret_cast<Four<T>*>(data) = four;
  } else {
    for (int i = 0; i < 4; ++i)  // four steps, so that values stay in registers
      if (i < count) data[i] = static_cast<T>(values[i]);
  }
}

// How many of the four from column d on there are, of `cols`.
TROUPE_KERNEL int four_at(int64_t d, int64_t cols) {
  return d >= cols ? 0 : static_cast<int>(cols - d < 4 ? cols - d : 4);
}

// body(row, first column, count) for fours of a matrix; a block takes kFoursPerBlock of them.
constexpr int64_t kFoursPerBlock = 512;

constexpr int64_t blocks_of_fours(int64_t rows, int64_t cols) {
  return blocks_of(rows * ((cols + 3) / 4), kFoursPerBlock);
}

template <class Body>
TROUPE_KERNEL void each_four(const Block<kElementThreads>& block, int64_t rows, int64_t cols, const Body& body) {
  const int64_t of_a_row = (cols + 3) / 4, all = rows * of_a_row;
  block.each([&](int thread) {
    for (int64_t step = 0; step < kFoursPerBlock; step += kElementThreads) {
      const int64_t i = block.index() * kFoursPerBlock + step + thread;
      if (i >= all) return;
      const int64_t row = all >> 32 ? i / of_a_row : static_cast<uint32_t>(i) / static_cast<uint32_t>(of_a_row);
      const int64_t first = (i - row * of_a_row) * 4;
      body(row, first, static_cast<int>(cols - first < 4 ? cols - first : 4));
    }
  });
}

}  // namespace troupe::cuda
