// From decisions to rows: every kept (token, choice) gets one row, rows are sorted by expert and, within one, by token.
// Cost O(T K + E).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/moe/router.h"

namespace troupe {

struct DispatchPlan {
  std::vector<int64_t> offsets;    // [E + 1] row ranges of the experts
  std::span<int32_t> row_of_TK;    // row of a (token, choice), -1 if dropped or masked
  std::span<int32_t> source_of_R;  // token * K + choice of a row; the first num_rows() entries count

  int64_t num_rows() const { return offsets.empty() ? 0 : offsets.back(); }

  void plan(Arena& arena, int64_t num_tokens, int64_t top_k);
};

template <class real>
void build(const Routing<real>& routing, DispatchPlan& plan);

}  // namespace troupe
