#include "ops/route/part.h"

#include <algorithm>

#include "base/error.h"

namespace troupe {

template <class real>
void RoutedPart<real>::take(const Routed<real>& whole, int64_t begin, int64_t end, Routed<real>& part) {
  const size_t E = whole.offsets_here().size() - 1;
  first_E.resize(E), part.offsets.resize(E + 1), part_row_.assign(static_cast<size_t>(whole.num_rows()), -1);
  part.num_choices = whole.num_choices;
  const auto token = whole.token_of_R.begin();
  part.offsets[0] = 0;
  for (size_t e = 0; e < E; ++e) {
    const auto first = token + whole.offsets[e], last = token + whole.offsets[e + 1];
    first_E[e] = std::lower_bound(first, last, begin) - token;
    const int64_t rows = std::lower_bound(token + first_E[e], last, end) - token - first_E[e];
    part.offsets[e + 1] = part.offsets[e] + rows;
    if (part.offsets[e + 1] > static_cast<int64_t>(part.token_of_R.size()))
      fail(ErrorCode::kUsage,
           "model.moe: expected at most {} rows of the {} tokens of a rank, got more (with model.moe.group_sequences, "
           "every rank routes its own)",
           part.token_of_R.size(), end - begin);
    for (int64_t i = 0; i < rows; ++i) {
      const auto from = static_cast<size_t>(first_E[e] + i), to = static_cast<size_t>(part.offsets[e] + i);
      part.token_of_R[to] = whole.token_of_R[from] - static_cast<int32_t>(begin);
      part.choice_of_R[to] = whole.choice_of_R[from];
      part.weight_R[to] = whole.weight_R[from];
      part_row_[from] = static_cast<int32_t>(to);
    }
  }
  int32_t next = 0;
  for (int64_t t = begin; t < end; ++t) {
    part.begin_T[static_cast<size_t>(t - begin)] = next;
    for (const int32_t row : whole.rows_of(t))
      part.rows_by_token[static_cast<size_t>(next++)] = part_row_[static_cast<size_t>(row)];
  }
  part.begin_T[static_cast<size_t>(end - begin)] = next;
}

template <class real>
void RoutedPart<real>::spread(const Routed<real>& part, std::span<const real> of_part, std::span<real> of_whole) const {
  std::fill(of_whole.begin(), of_whole.end(), real{0});
  for (size_t e = 0; e < first_E.size(); ++e)
    std::copy(of_part.begin() + part.offsets[e], of_part.begin() + part.offsets[e + 1], of_whole.begin() + first_E[e]);
}

template struct RoutedPart<float>;
template struct RoutedPart<double>;

}  // namespace troupe
