// What a library is told of products of many shapes in one launch, where it reads them in memory of the device: written
// there from the rows of experts, so that the host waits for no counts.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/cuda/linear.h"

namespace troupe::cuda {

// D [m, n] = A [m, k] B [k, n]
struct GroupShape {
  int32_t m, n, k;
};

// Arrays [E], in memory of the device.
struct GroupArrays {
  const void **a, **b;
  void** d;
  const float** bias;                       // of the columns of D
  int64_t *a_stride, *b_stride, *d_stride;  // elements from one row in memory to the next
  GroupShape* shapes;

  static constexpr int64_t bytes(int64_t num_experts) { return num_experts * (7 * 8 + int64_t{sizeof(GroupShape)}); }
  static GroupArrays at(void* memory, int64_t num_experts) {
    const auto array = [&](int64_t i) { return static_cast<char*>(memory) + i * 8 * num_experts; };
    const auto pointers = [&](int64_t i) { return reinterpret_cast<const void**>(array(i)); };
    const auto numbers = [&](int64_t i) { return reinterpret_cast<int64_t*>(array(i)); };
    return {pointers(0),
            pointers(1),
            reinterpret_cast<void**>(array(2)),
            reinterpret_cast<const float**>(array(3)),
            numbers(4),
            numbers(5),
            numbers(6),
            reinterpret_cast<GroupShape*>(array(7))};
  }
};

// Where the matrices of experts begin: so many bytes further with every row of the experts before, or with every
// expert.
struct GroupPlaces {
  const void* first;
  int64_t row_bytes, expert_bytes;
  int64_t stride;  // elements

  TROUPE_KERNEL const void* of(int64_t expert, int64_t row) const {
    return static_cast<const char*>(first) + row * row_bytes + expert * expert_bytes;
  }
};

// Rows of experts are rows of D, or the depth that is added up. An expert without any has a product of no size, for
// which a library has nothing to write: of a depth of 0 alone some versions make something else than nothing.
struct GroupArraysKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  RowTiles experts;
  GroupShape shape;  // but for the rows
  bool rows_are_depth;
  GroupPlaces a, b, d;
  const float* bias;  // [E, n] or nullptr
  GroupArrays out;

  int64_t blocks() const { return blocks_of(experts.num_experts, kThreads); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    block.each([&](int thread) {
      const int64_t e = block.index() * kThreads + thread;
      if (e >= experts.num_experts) return;
      const int64_t begin = experts.begin(e), rows = experts.begin(e + 1) - begin;
      out.a[e] = a.of(e, begin), out.a_stride[e] = a.stride;
      out.b[e] = b.of(e, begin), out.b_stride[e] = b.stride;
      out.d[e] = const_cast<void*>(d.of(e, begin)), out.d_stride[e] = d.stride;
      out.bias[e] = bias ? bias + e * shape.n : nullptr;
      GroupShape own = shape;
      (rows_are_depth ? own.k : own.m) = static_cast<int32_t>(rows);
      out.shapes[e] = rows > 0 ? own : GroupShape{0, 0, 0};
    });
  }
};

}  // namespace troupe::cuda
