// `troupe score`: log-probabilities of given targets, tensors in and tensors out, no tokenizer.
#pragma once

#include <filesystem>

#include "eval/perplexity.h"
#include "model/language_model.h"

namespace troupe {

// `in` has `src` and `tgt`, int64 [B, S]: input ids and the ids to predict; a negative target or the model's padding id
// is not scored. Writes `logprobs`, float32 [B, S], natural log, 0 where nothing is scored, and if asked `greedy`,
// uint8 [B, S], 1 where the target is the most probable token.
//
// The whole [B, S] is one batch, and one routing group if the model was loaded with moe.group_sequences = 0. Under
// CapacityRule::kDropless, where results do not depend on it, it is scored some sequences at a time. Throws kData
// naming file, tensor and element.
LossSum score_file(LanguageModel& model, const std::filesystem::path& in, const std::filesystem::path& out,
                   const CapacityRule& capacity, bool with_greedy = false, const ScoreProgress& progress = {});

}  // namespace troupe
