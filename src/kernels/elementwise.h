// Small passes of the host, the same for every processor: their cost is reading and writing. Tasks are those of
// ops/elementwise.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/threads.h"
#include "kernels/past_caches.h"
#include "tensor/host_matrix.h"

namespace troupe::host {

inline constexpr int64_t kPassRows = 64;        // rows at a time,
inline constexpr int64_t kPassPiece = 1 << 16;  // or elements, where rows lie back to back

template <class Task>
void fill(const Task& task) {
  const HostMatrix x(task.x);
  const bool past_caches = x.rows * x.cols * static_cast<int64_t>(sizeof(*x.data)) >= kMoreThanCachesHold;
  if (x.stride == x.cols)
    return parallel_chunks(x.rows * x.cols, kPassPiece, [&](int64_t begin, int64_t end) {
      past_caches ? fill_past_caches(x.data + begin, end - begin, task.value)
                  : void(std::fill(x.data + begin, x.data + end, task.value));
    });
  parallel_chunks(x.rows, kPassRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::fill_n(x.row(i), x.cols, task.value);
  });
}

template <class Task>
void copy(const Task& task) {
  const HostMatrix src(task.src);
  const HostMatrix dst(task.dst);
  if (src.stride == dst.cols && dst.stride == dst.cols)
    return parallel_chunks(dst.rows * dst.cols, kPassPiece, [&](int64_t begin, int64_t end) {
      std::copy(src.data + begin, src.data + end, dst.data + begin);
    });
  parallel_chunks(dst.rows, kPassRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::copy_n(src.row(i), dst.cols, dst.row(i));
  });
}

template <class Task>
void add(const Task& task) {
  const HostMatrix a(task.a), b(task.b);
  const HostMatrix out(task.out);
  parallel_chunks(out.rows, kPassRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < out.cols; ++j) out(i, j) = a(i, j) + b(i, j);
  });
}

}  // namespace troupe::host
