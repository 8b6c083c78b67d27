#include "ops/route/router_stats.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace troupe {
namespace {

double share_of_fifth(std::vector<int64_t> load, bool busiest) {
  const int64_t total = std::accumulate(load.begin(), load.end(), int64_t{0});
  if (total == 0) return 0.0;
  if (busiest)
    std::sort(load.begin(), load.end(), std::greater<>());
  else
    std::sort(load.begin(), load.end());
  const auto count = static_cast<int64_t>((load.size() + 4) / 5);  // ceil(0.2 E)
  return static_cast<double>(std::accumulate(load.begin(), load.begin() + count, int64_t{0})) /
         static_cast<double>(total);
}

}  // namespace

RouterStats& RouterStats::operator+=(const RouterStats& other) {
  if (load_E.empty()) {
    *this = other;
    for (Loss& loss : losses) loss.by_group.clear();
    return *this;
  }
  std::transform(load_E.begin(), load_E.end(), other.load_E.begin(), load_E.begin(), std::plus<>());
  std::transform(dropped_K.begin(), dropped_K.end(), other.dropped_K.begin(), dropped_K.begin(), std::plus<>());
  const auto weight = static_cast<double>(loss_tokens), other_weight = static_cast<double>(other.loss_tokens);
  if (weight + other_weight > 0)
    for (size_t i = 0; i < losses.size(); ++i)
      losses[i].mean = (losses[i].mean * weight + other.losses[i].mean * other_weight) / (weight + other_weight);
  loss_tokens += other.loss_tokens;
  tokens += other.tokens;
  entropy_sum += other.entropy_sum;
  return *this;
}

double RouterStats::loss(std::string_view name) const {
  const auto found = std::find_if(losses.begin(), losses.end(), [&](const Loss& loss) { return loss.name == name; });
  return found == losses.end() ? 0.0 : found->mean;
}
double RouterStats::drop_rate(int64_t choice) const {
  return tokens ? static_cast<double>(dropped_K[static_cast<size_t>(choice)]) / static_cast<double>(tokens) : 0.0;
}
int64_t RouterStats::unused_experts() const { return std::count(load_E.begin(), load_E.end(), 0); }
double RouterStats::busiest_fifth() const { return share_of_fifth(load_E, true); }
double RouterStats::idlest_fifth() const { return share_of_fifth(load_E, false); }

}  // namespace troupe
