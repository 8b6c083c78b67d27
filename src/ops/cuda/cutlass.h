// The rows of products of all experts in one launch by CUTLASS.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/cutlass.h"
#include "ops/cuda/row.h"

namespace troupe {

// They refuse unless TROUPE_CUDA_GROUPED asks for them (kernels/cuda/switches.h), and what is not a sum or an
// activation of sums that are rounded first.
TROUPE_BY(cutlass, LinearForward)
TROUPE_BY(cutlass, LinearBackwardInput)
TROUPE_BY(cutlass, LinearBackwardWeight)

// Rows of an expert, on average, below which tiles are of 64 of them. Nothing of it was measured: the last tiles of an
// expert are half empty on average, of 256 rows (two tall tiles, which go together) or of 64; a short one reads the
// weights for half as many rows, from a cache that then bounds it to less than half of the speed. Below 256 rows no
// expert fills two tall tiles.
inline constexpr int64_t kShortTileRows = 256;

// `rows` after them; there are none but in bf16.
template <template <class> class Op, class P>
std::vector<Implementation<Op<P>>> with_cutlass(std::vector<Implementation<Op<P>>> rows) {
  if constexpr (std::is_same_v<P, Bf16>)
    rows.insert(rows.begin(),
                {"cutlass", [](const Op<P>& task, Context& context) { by_cutlass(task, context); }, Device::kCuda,
                 cuda::cutlass_unavailable, [](const Op<P>& task) { return refused_by_cutlass(task); }});
  return rows;
}

}  // namespace troupe
