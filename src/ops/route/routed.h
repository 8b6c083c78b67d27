// What every routing policy produces, and all that gather, combine and an MoE block see: rows sorted by expert, and
// which of them belong to a token. A token owns 0, 1 or more rows; no two on one expert.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ops/later.h"
#include "tensor/arena.h"

namespace troupe {

template <class real>
struct Routed {
  // By row. Within an expert, rows stand in the order of their tokens.
  mutable std::vector<int64_t> offsets;  // [E + 1] rows [offsets[e], offsets[e + 1]) are expert e's
  // If a GPU routed: the same in its memory, and in place of `offsets` until the host needs them. all_kept: every
  // choice of every token has a row, so that their number is known.
  std::span<int64_t> offsets_there;
  mutable Later<std::vector<int64_t>> offsets_later;
  bool routed_there = false, all_kept = false;
  std::span<int32_t> token_of_R;   // of this and the next three the first num_rows() entries count
  std::span<int32_t> choice_of_R;  // which of its token's num_choices choices: what is dropped leaves no trace
  std::span<real> weight_R;        // of the row's output in its token's sum

  // By token: rows of token t are rows_by_token[begin_T[t]], ..., up to begin_T[t + 1], in the order of its choices.
  std::span<int32_t> rows_by_token;
  std::span<int32_t> begin_T;  // [T + 1]

  int64_t num_choices = 0;  // of every token, before dropping

  std::span<const int64_t> offsets_here() const {
    if (offsets_later) offsets = std::exchange(offsets_later, {})();
    return offsets;
  }
  int64_t num_rows() const {
    if (all_kept) return num_choices * (static_cast<int64_t>(begin_T.size()) - 1);
    return offsets_here().empty() ? 0 : offsets.back();
  }
  std::span<const int32_t> rows_of(int64_t token) const {
    return rows_by_token.subspan(static_cast<size_t>(begin_T[token]),
                                 static_cast<size_t>(begin_T[token + 1] - begin_T[token]));
  }
  // Names a row in random numbers, whatever else was dropped.
  int64_t element_of(int32_t row) const { return token_of_R[row] * num_choices + choice_of_R[row]; }

  // Memory for at most max_rows rows; throws kUsage if their numbers do not fit.
  void plan(Arena& arena, int64_t num_tokens, int64_t num_experts, int64_t max_rows, int64_t choices);
};

}  // namespace troupe
