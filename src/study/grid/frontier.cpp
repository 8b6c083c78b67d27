#include "study/grid/frontier.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace troupe {

std::vector<CostPoint> frontier_of(std::vector<CostPoint> points) {
  std::erase_if(points, [](const CostPoint& p) { return !std::isfinite(p.cost) || !std::isfinite(p.nll); });
  std::sort(points.begin(), points.end(), [](const CostPoint& a, const CostPoint& b) {
    return std::tie(a.cost, a.nll, a.index) < std::tie(b.cost, b.nll, b.index);
  });
  std::vector<CostPoint> frontier;
  for (const CostPoint& point : points)
    if (frontier.empty() || point.nll < frontier.back().nll) frontier.push_back(point);
  return frontier;
}

std::optional<ReachedCost> cost_at(const std::vector<CostPoint>& frontier, double nll) {
  for (size_t i = 0; i < frontier.size(); ++i) {
    const CostPoint& high = frontier[i];
    if (nll == high.nll) return ReachedCost{high.cost, high.index, high.index};
    if (nll < high.nll) continue;
    if (i == 0) return std::nullopt;
    const CostPoint& low = frontier[i - 1];
    const double r = (nll - low.nll) / (high.nll - low.nll);
    return ReachedCost{std::exp(std::log(low.cost) + r * (std::log(high.cost) - std::log(low.cost))), low.index,
                       high.index};
  }
  return std::nullopt;
}

}  // namespace troupe
