#include "ops/route/part.h"

#include <algorithm>

#include "base/error.h"
#include "ops/elementwise.h"
#include "ops/transfer.h"

namespace troupe {

// What of a routing is taken, where the host reads it.
template <class real>
struct RoutedOnHost {
  explicit RoutedOnHost(const Routed<real>& whole)
      : token_of_R(first<int32_t>(whole.token_of_R, whole.num_rows(), tokens)),
        choice_of_R(first<int32_t>(whole.choice_of_R, whole.num_rows(), choices)),
        weight_R(first<real>(whole.weight_R, whole.num_rows(), weights)),
        rows_by_token(first<int32_t>(whole.rows_by_token, whole.num_rows(), rows)),
        begin_T(to_host<int32_t>(whole.begin_T, begins)) {}
  template <class T>
  static std::span<const T> first(std::span<const T> values, int64_t count, Buffer<T>& room) {
    return to_host<T>(values.first(static_cast<size_t>(count)), room);
  }

  Buffer<int32_t> tokens, choices, rows, begins;
  Buffer<real> weights;
  const std::span<const int32_t> token_of_R, choice_of_R;
  const std::span<const real> weight_R;
  const std::span<const int32_t> rows_by_token, begin_T;
};

template <class real>
void RoutedPart<real>::take(const Routed<real>& whole, int64_t begin, int64_t end, Routed<real>& part) {
  const size_t E = whole.offsets_here().size() - 1;
  const RoutedOnHost<real> of(whole);
  first_E.resize(E), part.offsets.resize(E + 1), part_row_.assign(of.token_of_R.size(), -1);
  part.num_choices = whole.num_choices;
  part.routed_there = part.all_kept = false, part.offsets_later = {};  // what an evaluation may have left
  const auto token = of.token_of_R.begin();
  std::vector<size_t> row_of_whole;  // by row of the part
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
      const auto from = static_cast<size_t>(first_E[e] + i);
      part_row_[from] = static_cast<int32_t>(row_of_whole.size());
      row_of_whole.push_back(from);
    }
  }
  // values[row of the part] = value_of(row of the whole)
  const auto take_rows = [&]<class T>(std::span<T> values, const auto& value_of) {
    from_host<T>(values.first(row_of_whole.size()), [&](std::span<T> here) {
      std::transform(row_of_whole.begin(), row_of_whole.end(), here.begin(), value_of);
    });
  };
  take_rows(part.token_of_R, [&](size_t row) { return of.token_of_R[row] - static_cast<int32_t>(begin); });
  take_rows(part.choice_of_R, [&](size_t row) { return of.choice_of_R[row]; });
  take_rows(part.weight_R, [&](size_t row) { return of.weight_R[row]; });
  const int32_t first_of_tokens = of.begin_T[static_cast<size_t>(begin)];
  from_host<int32_t>(part.begin_T.first(static_cast<size_t>(end - begin) + 1), [&](std::span<int32_t> here) {
    std::transform(of.begin_T.begin() + begin, of.begin_T.begin() + end + 1, here.begin(),
                   [&](int32_t row) { return row - first_of_tokens; });
  });
  from_host<int32_t>(part.rows_by_token.first(row_of_whole.size()), [&](std::span<int32_t> here) {
    for (size_t i = 0; i < here.size(); ++i)
      here[i] = part_row_[static_cast<size_t>(of.rows_by_token[static_cast<size_t>(first_of_tokens) + i])];
  });
}

template <class real>
void RoutedPart<real>::spread(const Routed<real>& part, std::span<const real> of_part, std::span<real> of_whole) const {
  run(Fill<real>{.x = {of_whole.data(), 1, static_cast<int64_t>(of_whole.size())}});
  for (size_t e = 0; e < first_E.size(); ++e) {
    const auto begin = static_cast<size_t>(part.offsets[e]), size = static_cast<size_t>(part.offsets[e + 1]) - begin;
    if (size > 0)
      copy<real>(of_part.subspan(begin, size), of_whole.subspan(static_cast<size_t>(first_E[e]), size));
  }
}

template struct RoutedPart<float>;
template struct RoutedPart<double>;

}  // namespace troupe
