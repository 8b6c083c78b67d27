// The rows of our own attention on the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/cuda/row.h"
#include "tensor/matrix.h"

namespace troupe {

// Heads of more columns than its kernels have room for; else "".
std::string refuses_wide_heads(int64_t C);

// Attention on tensor cores takes bf16, with rows and heads that start at multiples of 16 bytes.
#define TROUPE_BY_TILES(Task)                   \
  template <class>                              \
  struct Task;                                  \
  template <class P>                            \
  void by_tiles(const Task<P>& task, Context&); \
  template <class P>                            \
  std::string refuses_tiles(const Task<P>& task);
TROUPE_BY_TILES(AttentionForward)
TROUPE_BY_TILES(AttentionBackward)
#undef TROUPE_BY_TILES

template <class P>
std::string tiles_unavailable() {
  return std::is_same_v<P, Bf16> ? cuda::unavailable() : "it takes bf16 alone";
}

// `rows` after that of tensor cores.
template <template <class> class Op, class P>
std::vector<Implementation<Op<P>>> with_tiles(std::vector<Implementation<Op<P>>> rows) {
  if constexpr (!kInDouble<P>)
    rows.insert(rows.begin(),
                {"tensor_cores", [](const Op<P>& task, Context& context) { by_tiles(task, context); }, Device::kCuda,
                 tiles_unavailable<P>, [](const Op<P>& task) { return refuses_tiles(task); }});
  return rows;
}

// Whether each of these begins, row by row, at multiples of 16 bytes.
template <class... T>
bool rows_aligned(const Matrix<T>&... matrices) {
  return ((reinterpret_cast<uintptr_t>(matrices.data) % 16 == 0 &&
           matrices.stride * static_cast<int64_t>(sizeof(T)) % 16 == 0) &&
          ...);
}

}  // namespace troupe
