// Text continuation: prefill the prompt, then one token at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "infer/sampler.h"
#include "model/language_model.h"

namespace troupe {

struct GenerateOptions {
  int64_t max_tokens = 128;
  bool stop_at_eos = true;
  // The ids that may come besides the model's end-of-text (Tokenizer::text_ids()); empty: all. A model's vocabulary may
  // be padded beyond its tokenizer's, have gaps, and hold control tokens (<pad>) that were never a target in training.
  std::vector<int32_t> allowed;
  SamplingOptions sampling;
};

struct Generation {
  std::vector<int32_t> tokens;  // without the prompt; the end-of-text token is not included
  double prefill_seconds = 0.0, decode_seconds = 0.0;
  int64_t prompt_tokens = 0;
  bool ended = false;  // the model produced end-of-text
};

// Continues `prompt` (ids; an empty one starts from the model's eos_id). `on_token` (may be empty) sees each token as
// it comes and stops the generation by returning false. Throws kNonFinite if a logit is not a number.
Generation generate(LanguageModel& model, std::span<const int32_t> prompt, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token = {});

}  // namespace troupe
