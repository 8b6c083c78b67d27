// Scores of several continuations of one prefix; the prefix runs once. Routing is dropless.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/language_model.h"

namespace troupe {

struct ContinuationScore {
  std::vector<float> logprobs;     // natural log, one per continuation token
  std::vector<uint8_t> is_greedy;  // 1 where the token is the most probable one
};

// `prefix` must hold at least one token (the first input); continuation i is scored token by token after it.
std::vector<ContinuationScore> score_continuations(LanguageModel& model, std::span<const int32_t> prefix,
                                                   std::span<const std::vector<int32_t>> continuations);

}  // namespace troupe
