#include "ops/route/routed.h"

#include <limits>

#include "base/error.h"

namespace troupe {

template <class real>
void Routed<real>::plan(Arena& arena, int64_t num_tokens, int64_t num_experts, int64_t max_rows, int64_t choices) {
  if (max_rows > std::numeric_limits<int32_t>::max())
    fail(ErrorCode::kUsage, "routing: expected at most {} rows of experts in a micro-batch, got {} ({} tokens)",
         std::numeric_limits<int32_t>::max(), max_rows, num_tokens);
  num_choices = choices;
  offsets_there = arena.span<int64_t>("moe.offsets", num_experts + 1);
  token_of_R = arena.span<int32_t>("moe.token_of", max_rows);
  choice_of_R = arena.span<int32_t>("moe.choice_of", max_rows);
  weight_R = arena.span<real>("moe.weight", max_rows);
  rows_by_token = arena.span<int32_t>("moe.rows_by_token", max_rows);
  begin_T = arena.span<int32_t>("moe.begin", num_tokens + 1);
}

template struct Routed<float>;
template struct Routed<double>;

}  // namespace troupe
