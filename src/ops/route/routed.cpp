#include "ops/route/routed.h"

#include <limits>
#include <numeric>

#include "base/error.h"

namespace troupe {

template <class real>
void Routed<real>::plan(Arena& arena, int64_t num_tokens, int64_t max_rows, int64_t choices) {
  if (max_rows > std::numeric_limits<int32_t>::max())
    fail(ErrorCode::kUsage, "routing: expected at most {} rows of experts in a micro-batch, got {} ({} tokens)",
         std::numeric_limits<int32_t>::max(), max_rows, num_tokens);
  num_choices = choices;
  token_of_R = arena.span<int32_t>("moe.token_of", max_rows);
  choice_of_R = arena.span<int32_t>("moe.choice_of", max_rows);
  weight_R = arena.span<real>("moe.weight", max_rows);
  rows_by_token = arena.span<int32_t>("moe.rows_by_token", max_rows);
  begin_T = arena.span<int32_t>("moe.begin", num_tokens + 1);
}

template <class real>
void sort_by_expert(int64_t num_experts, std::span<const int32_t> expert_TK, std::span<const uint8_t> kept_TK,
                    Routed<real>& rows) {
  const auto choices = static_cast<int64_t>(expert_TK.size()), K = rows.num_choices;
  rows.offsets.assign(static_cast<size_t>(num_experts) + 1, 0);
  for (int64_t i = 0; i < choices; ++i)
    if (kept_TK[i]) ++rows.offsets[static_cast<size_t>(expert_TK[i]) + 1];
  std::partial_sum(rows.offsets.begin(), rows.offsets.end(), rows.offsets.begin());
  std::vector<int64_t> next(rows.offsets.begin(), rows.offsets.end() - 1);
  int32_t kept = 0;
  rows.begin_T[0] = 0;
  for (int64_t i = 0; i < choices; ++i) {
    if (kept_TK[i]) {
      const auto row = static_cast<int32_t>(next[static_cast<size_t>(expert_TK[i])]++);
      rows.token_of_R[row] = static_cast<int32_t>(i / K);
      rows.choice_of_R[row] = static_cast<int32_t>(i % K);
      rows.rows_by_token[kept++] = row;
    }
    if ((i + 1) % K == 0) rows.begin_T[(i + 1) / K] = kept;
  }
}

template struct Routed<float>;
template struct Routed<double>;
template void sort_by_expert(int64_t, std::span<const int32_t>, std::span<const uint8_t>, Routed<float>&);
template void sort_by_expert(int64_t, std::span<const int32_t>, std::span<const uint8_t>, Routed<double>&);

}  // namespace troupe
