// The next token from logits: temperature, then top-k, then top-p (nucleus, Holtzman et al. 2020), then one draw that
// depends only on (seed, index). Temperature 0 is greedy: the most probable token, lowest id on ties. Throws kNonFinite
// naming the first logit that is not finite.
#pragma once

#include <cstdint>
#include <span>

namespace troupe {

struct SamplingOptions {
  double temperature = 1.0;
  int64_t top_k = 0;   // 0: all
  double top_p = 1.0;  // smallest set of tokens whose probability reaches this
  uint64_t seed = 1;
};

// `allowed`: the ids that may come; empty: all.
int32_t sample(std::span<const float> logits_V, const SamplingOptions& options, uint64_t index,
               std::span<const int32_t> allowed = {});

}  // namespace troupe
