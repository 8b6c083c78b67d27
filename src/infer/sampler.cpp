#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace troupe {

uint64_t sample_seed(uint64_t seed, int64_t sample) {
  return sample == 0 ? seed : mix_key(seed, static_cast<uint64_t>(sample)) >> 11;
}

RepetitionPenalty::RepetitionPenalty(double penalty, int64_t vocab_size)
    : penalty_(static_cast<float>(penalty)), seen_(penalty == 1.0 ? 0 : static_cast<size_t>(vocab_size)) {}

void RepetitionPenalty::add(std::span<const int32_t> ids) {
  if (seen_.empty()) return;
  for (const int32_t id : ids) {
    if (seen_[static_cast<size_t>(id)]) continue;
    seen_[static_cast<size_t>(id)] = true;
    ids_.push_back(id);
  }
}

void RepetitionPenalty::apply(std::span<float> logits_V) const {
  for (const int32_t id : ids_) {
    float& logit = logits_V[static_cast<size_t>(id)];
    logit = logit > 0.0f ? logit / penalty_ : logit * penalty_;
  }
}

int32_t sample(std::span<const float> logits_V, const SamplingOptions& options, uint64_t index,
               std::span<const int32_t> allowed) {
  for (size_t i = 0; i < logits_V.size(); ++i)
    if (!std::isfinite(logits_V[i]))
      fail(ErrorCode::kNonFinite, "new token {}: expected finite logits, got {} for id {} (the model diverged)", index,
           logits_V[i], i);

  // A heap of the tokens, which gives them up by descending logit, lowest id first among equals: as a rule the draw
  // falls on one of the first, so that only few of the vocabulary are put in order.
  std::vector<int32_t> heap(allowed.begin(), allowed.end());
  if (allowed.empty()) {
    heap.resize(logits_V.size());
    std::iota(heap.begin(), heap.end(), 0);
  }
  const auto below = [&](int32_t a, int32_t b) {
    return logits_V[a] < logits_V[b] || (logits_V[a] == logits_V[b] && a > b);
  };
  if (options.temperature <= 0.0) return *std::max_element(heap.begin(), heap.end(), below);
  std::make_heap(heap.begin(), heap.end(), below);
  const double max = logits_V[heap.front()];
  const auto weight_of = [&](int32_t id) {
    return std::exp((static_cast<double>(logits_V[id]) - max) / options.temperature);
  };
  std::vector<int32_t> ranked;
  std::vector<double> weights;
  const auto rank_next = [&] {
    std::pop_heap(heap.begin(), heap.end(), below);
    ranked.push_back(heap.back());
    weights.push_back(weight_of(heap.back()));
    heap.pop_back();
    return weights.back();
  };

  double total = 0.0;
  size_t candidates = heap.size();
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < candidates) {
    candidates = static_cast<size_t>(options.top_k);
    while (ranked.size() < candidates) total += rank_next();
  } else {
    for (const int32_t id : heap) total += weight_of(id);
  }
  double kept = total;
  if (options.top_p < 1.0) {
    kept = 0.0;
    size_t used = 0;
    while (used < candidates && (used == 0 || kept < options.top_p * total))
      kept += used < ranked.size() ? weights[used++] : (++used, rank_next());
    candidates = used;
  }
  if (options.min_p > 0.0) {  // the most probable token has the weight 1
    kept = 0.0;
    size_t used = 0;
    while (used < candidates) {
      const double weight = used < ranked.size() ? weights[used] : rank_next();
      if (used > 0 && weight < options.min_p) break;
      kept += weight;
      ++used;
    }
    candidates = used;
  }

  double point = Rng(options.seed, index).uniform() * kept;
  int32_t drawn = -1;
  for (size_t i = 0; i < candidates; ++i) {
    if (i == ranked.size()) rank_next();
    if (weights[i] == 0.0) break;  // rounding led beyond the last token that can come
    drawn = ranked[i];
    point -= weights[i];
    if (point < 0.0) break;
  }
  return drawn;
}

}  // namespace troupe
