// What a forward pass is for. Blocks receive it beside their input.
#pragma once

#include <cstdint>
#include <span>

#include "base/rng.h"
#include "ops/dropout.h"
#include "ops/route/capacity.h"
#include "ops/route/router_stats.h"

namespace troupe {

struct RunMode {
  bool training = false;    // dropout and random second choices on; activations are kept for a backward pass
  uint64_t key = 0;         // mixes seed and step
  int64_t first_token = 0;  // index of the batch's token 0 in the global batch
  CapacityRule capacity;
  double z_loss = 0.0;  // weight of the squared log of the sum of exp(logits), per scored token

  std::span<const RouterStats> routed_before = {};  // by MoE layer, of the update's micro-batches before this one

  // The dropout at one site of one layer, off in evaluation, and the factor that is always there.
  enum Site { kEmbedding, kAttentionWeights, kAttentionOut, kFfnOut, kSecondChoice, kSharedOut, kRouterInput };
  Dropout dropout(double probability, int64_t layer, Site site, int64_t first_row, float multiplier = 1.0f) const {
    if (!training || probability <= 0.0) return {.multiplier = multiplier};
    return {static_cast<float>(probability), site_key(layer, site), first_row, multiplier};
  }
  uint64_t site_key(int64_t layer, Site site) const {
    return mix_key(mix_key(key, static_cast<uint64_t>(layer)), site);
  }
};

}  // namespace troupe
