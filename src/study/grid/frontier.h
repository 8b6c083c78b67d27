// What a family reaches for which cost: its lower frontier, and the cost at which it reaches a given loss.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace troupe {

struct CostPoint {
  double cost = 0.0, nll = 0.0;
  size_t index = 0;  // the caller's
};

// The points in order of cost that no cheaper one (or one of the same cost) equals or beats: costs ascend, nll falls.
// What is not finite is left out.
std::vector<CostPoint> frontier_of(std::vector<CostPoint> points);

// Between the two points around `nll`, linear in nll and in the logarithm of the cost (log c = log c_lo + r (log
// c_hi - log c_lo), r = (t - t_lo) / (t_hi - t_lo)). Nothing outside of the measured range: nothing is extrapolated.
struct ReachedCost {
  double cost = 0.0;
  size_t below = 0, above = 0;  // indices of the cheaper and the dearer point; the same if one is met exactly
};
std::optional<ReachedCost> cost_at(const std::vector<CostPoint>& frontier, double nll);

}  // namespace troupe
