#include "data/loader/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace troupe {

Mixture::Mixture(const std::vector<double>& weights) : share_(weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& share : share_) {
    if (!(share > 0.0) || !std::isfinite(sum))
      fail(ErrorCode::kInternal, "mixture: expected positive finite weights, got {}", share);
    share /= sum;
  }
  if (share_.empty()) fail(ErrorCode::kInternal, "mixture: expected at least one corpus, got none");
}

size_t Mixture::State::next() {
  size_t first = 0;
  for (size_t j = 1; j < count_.size(); ++j)
    if (mixture_->due(j, count_[j]) < mixture_->due(first, count_[first])) first = j;
  ++count_[first];
  return first;
}

Mixture::State Mixture::after(int64_t sequences) const {
  State state;
  state.mixture_ = this;
  state.count_.assign(size(), 0);
  // Up to time t corpus j has had floor(t * share_j + 1/2) sequences, within half a one of t * share_j; so at
  // t = sequences - corpora the total is still at most `sequences`, and the few that are missing are stepped through.
  const double time = static_cast<double>(sequences - static_cast<int64_t>(size()));
  int64_t total = 0;
  if (time > 0)
    for (size_t j = 0; j < size(); ++j) {
      auto number = static_cast<int64_t>(std::floor(time * share_[j] + 0.5));
      while (number > 0 && due(j, number - 1) >= time) --number;  // rounding, and ties belong to the stepping
      while (due(j, number) < time) ++number;
      state.count_[j] = number;
      total += number;
    }
  for (; total < sequences; ++total) state.next();
  return state;
}

}  // namespace troupe
