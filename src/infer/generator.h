// Text continuation: prefill the prompt once, then one token at a time, for one sample or several.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
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

enum class FinishReason {
  kStop,      // on_token said so
  kLength,    // max_tokens, or the last learned position
  kEndOfText  // the model produced end-of-text
};
template <>
struct EnumNames<FinishReason> {
  static constexpr std::array<std::pair<std::string_view, FinishReason>, 3> values = {
      {{"stop", FinishReason::kStop}, {"length", FinishReason::kLength}, {"end_of_text", FinishReason::kEndOfText}}};
};

struct Generation {
  std::vector<int32_t> tokens;                        // without the prompt; the end-of-text token is not included
  double prefill_seconds = 0.0, decode_seconds = 0.0;  // prefill: of the prompt, once for all its samples
  int64_t prompt_tokens = 0;
  FinishReason finish = FinishReason::kLength;
};

// One prompt and what is drawn after it; the model must outlive it.
class Generator {
 public:
  // `prompt`: ids; an empty one starts from the model's eos_id. Throws kUsage if there is none.
  Generator(LanguageModel& model, std::span<const int32_t> prompt);
  ~Generator();

  // `on_token` (may be empty) sees each token as it comes and stops the generation by returning false. The result
  // depends on the options alone, not on earlier runs. Throws kNonFinite if a logit is not a number, kUsage if the
  // prompt does not fit into learned positions.
  Generation run(const GenerateOptions& options, const std::function<bool(int32_t)>& on_token = {});

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

// One sample.
Generation generate(LanguageModel& model, std::span<const int32_t> prompt, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token = {});

}  // namespace troupe
