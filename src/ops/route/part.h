// A routing of some of the tokens that were routed together: those of one rank.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/route/routed.h"

namespace troupe {

template <class real>
struct RoutedPart {
  std::vector<int64_t> first_E;  // by expert, the row of the whole that is its first of the part

  // Makes `part` the rows of tokens [begin, end) of `whole`, which are numbered from 0. Rows of an expert stand in the
  // order of tokens, so those of the part lie together. Throws kUsage if `part` has no room for them.
  void take(const Routed<real>& whole, int64_t begin, int64_t end, Routed<real>& part);
  // of_whole[row] = of_part[its row there], 0 for rows of other tokens.
  void spread(const Routed<real>& part, std::span<const real> of_part, std::span<real> of_whole) const;

 private:
  std::vector<int32_t> part_row_;  // by row of the whole
};

extern template struct RoutedPart<float>;
extern template struct RoutedPart<double>;

}  // namespace troupe
