// The rows of our own attention on the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/cuda/row.h"

namespace troupe {

// Heads of more columns than its kernels have room for; else "".
std::string refuses_wide_heads(int64_t C);

// Attention on tensor cores takes bf16, with rows and heads that start at multiples of 16 bytes.
TROUPE_BY(tiles, AttentionForward)
TROUPE_BY(tiles, AttentionBackward)

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
                 tiles_unavailable<P>, [](const Op<P>& task) { return refused_by_tiles(task); }});
  return rows;
}

}  // namespace troupe
