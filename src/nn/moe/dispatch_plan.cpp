#include "nn/moe/dispatch_plan.h"

#include <numeric>

namespace troupe {

void DispatchPlan::plan(Arena& arena, int64_t num_tokens, int64_t top_k) {
  row_of_TK = arena.span<int32_t>("moe.row_of", num_tokens * top_k);
  source_of_R = arena.span<int32_t>("moe.source_of", num_tokens * top_k);
}

template <class real>
void build(const Routing<real>& routing, DispatchPlan& plan) {
  const int64_t choices = routing.T * routing.K;
  plan.offsets.assign(static_cast<size_t>(routing.E) + 1, 0);
  for (int64_t i = 0; i < choices; ++i)
    if (routing.kept_TK[i]) ++plan.offsets[static_cast<size_t>(routing.expert_TK[i]) + 1];
  std::partial_sum(plan.offsets.begin(), plan.offsets.end(), plan.offsets.begin());
  std::vector<int64_t> next(plan.offsets.begin(), plan.offsets.end() - 1);
  for (int64_t i = 0; i < choices; ++i) {
    if (!routing.kept_TK[i]) {
      plan.row_of_TK[i] = -1;
      continue;
    }
    const int64_t row = next[static_cast<size_t>(routing.expert_TK[i])]++;
    plan.row_of_TK[i] = static_cast<int32_t>(row);
    plan.source_of_R[row] = static_cast<int32_t>(i);
  }
}

template void build(const Routing<float>&, DispatchPlan&);
template void build(const Routing<double>&, DispatchPlan&);

}  // namespace troupe
