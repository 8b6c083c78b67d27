#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace troupe {

int32_t sample(std::span<const float> logits_V, const SamplingOptions& options, uint64_t index) {
  for (size_t i = 0; i < logits_V.size(); ++i)
    if (!std::isfinite(logits_V[i]))
      fail(ErrorCode::kNonFinite, "new token {}: expected finite logits, got {} for id {} (the model diverged)", index,
           logits_V[i], i);
  if (options.temperature <= 0.0)
    return static_cast<int32_t>(std::max_element(logits_V.begin(), logits_V.end()) - logits_V.begin());

  // Candidates in order of descending logit, lowest id first among equals.
  std::vector<int32_t> order(logits_V.size());
  std::iota(order.begin(), order.end(), 0);
  const auto above = [&](int32_t a, int32_t b) {
    return logits_V[a] > logits_V[b] || (logits_V[a] == logits_V[b] && a < b);
  };
  size_t count = order.size();
  if (options.top_k > 0) count = std::min(count, static_cast<size_t>(options.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(), above);

  std::vector<double> weight(count);
  const double max = logits_V[order[0]];
  for (size_t i = 0; i < count; ++i)
    weight[i] = std::exp((static_cast<double>(logits_V[order[i]]) - max) / options.temperature);
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  double kept = 0.0;
  size_t used = 0;
  while (used < count && (used == 0 || kept < options.top_p * total)) kept += weight[used++];

  double point = Rng(options.seed, index).uniform() * kept;
  for (size_t i = 0; i < used; ++i) {
    point -= weight[i];
    if (point < 0.0) return order[i];
  }
  return order[used - 1];
}

}  // namespace troupe
