// The rows of products of all experts in one launch, by our own kernels on tensor cores.
#pragma once

#include "ops/cuda/row.h"

namespace troupe {

TROUPE_BY(grouped, LinearForward)
TROUPE_BY(grouped, LinearBackwardInput)
TROUPE_BY(grouped, LinearBackwardWeight)

// `rows` after them; there are none but in bf16.
template <template <class> class Op, class P>
std::vector<Implementation<Op<P>>> with_grouped(std::vector<Implementation<Op<P>>> rows) {
  if constexpr (std::is_same_v<P, Bf16>)
    rows.insert(rows.begin(),
                {"grouped", [](const Op<P>& task, Context& context) { by_grouped(task, context); }, Device::kCuda,
                 cuda::unavailable, [](const Op<P>& task) { return refused_by_grouped(task); }});
  return rows;
}

}  // namespace troupe
