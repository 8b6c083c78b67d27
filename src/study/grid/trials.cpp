#include "study/grid/trials.h"

#include <algorithm>
#include <iterator>

namespace troupe {

std::vector<double> rates_to_try(double own, int64_t count, const TrialScores& finished) {
  TrialScores tried;
  std::vector<double> missing;
  for (const double rate : {own, own / 2, own * 2}) {
    const auto score = finished.find(rate);
    if (score == finished.end())
      missing.push_back(rate);
    else
      tried.insert(*score);
  }
  if (!missing.empty()) return missing;
  while (static_cast<int64_t>(tried.size()) < count) {
    const BestRate best = best_rate(tried);
    const auto lowest = tried.begin(), highest = std::prev(tried.end());
    const bool down = best.inside ? lowest->second < highest->second : best.lr == lowest->first;
    const double next = down ? lowest->first / 2 : highest->first * 2;
    const auto score = finished.find(next);
    if (score == finished.end()) return {next};
    tried.insert(*score);
  }
  return {};
}

BestRate best_rate(const TrialScores& finished) {
  const auto best = std::min_element(finished.begin(), finished.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return {best->first, best != finished.begin() && std::next(best) != finished.end()};
}

}  // namespace troupe
