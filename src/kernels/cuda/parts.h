// Sums over rows whose parts blocks have made: added up in an order that the number of parts alone fixes.
#pragma once

#include <cstdint>

#include "kernels/cuda/grid.h"

namespace troupe::cuda {

// A thread of each of kLanes lanes and kColumns columns.
constexpr int kPartsThreads = 1024, kPartsColumns = 32, kPartsLanes = kPartsThreads / kPartsColumns;
struct PartsShared {
  float part[kPartsLanes][kPartsColumns];
};

// add(column, sum of parts[0][column], parts[stride][column], ...) for columns from `first` on that are below `columns`:
// a lane sums every part of so many, and lanes are added in order.
template <class Add>
TROUPE_KERNEL void sum_parts(const Block<kPartsThreads>& block, PartsShared& shared, const float* parts,
                             int64_t num_parts, int64_t stride, int64_t first, int64_t columns, const Add& add) {
  block.each([&](int thread) {
    const int64_t i = first + thread % kPartsColumns;
    float total = 0.0f;
    for (int64_t part = thread / kPartsColumns; i < columns && part < num_parts; part += kPartsLanes)
      total += parts[part * stride + i];
    shared.part[thread / kPartsColumns][thread % kPartsColumns] = total;
  });
  block.each([&](int thread) {
    const int64_t i = first + thread;
    if (thread >= kPartsColumns || i >= columns) return;
    float total = 0.0f;
    for (int lane = 0; lane < kPartsLanes; ++lane) total += shared.part[lane][thread];
    add(i, total);
  });
}

// sums[k][i] += column k count + i of the parts, for k < num_sums; nullptr: those are left out.
struct AddPartsKernel {
  static constexpr int kThreads = kPartsThreads, kMostSums = 3;
  using Shared = PartsShared;

  const float* parts;
  int64_t num_parts, count;
  int num_sums;
  float* sums[kMostSums];

  int64_t blocks() const { return num_parts == 0 ? 0 : blocks_of(num_sums * count, kPartsColumns); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t columns = num_sums * count;
    sum_parts(block, shared, parts, num_parts, columns, block.index() * kPartsColumns, columns,
              [&](int64_t i, float total) {
                for (int k = 0; k < kMostSums; ++k)
                  if (i >= k * count && i < (k + 1) * count && sums[k]) sums[k][i - k * count] += total;
              });
  }
};

}  // namespace troupe::cuda
