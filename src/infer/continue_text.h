// Text in, text out: the continuation of a prompt, which begins a document as in training.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "infer/generator.h"

namespace troupe {

// The prompt's ids behind the model's end-of-text, if it has one.
std::vector<int32_t> prompt_ids(const ModelConfig& config, const Tokenizer& tokenizer, std::string_view prompt);

struct Continuation {
  std::string text;  // of whole characters: one that the most tokens cut at the end is left out
  Generation generation;
};
// options.allowed is the tokenizer's text. Throws as generate() does.
Continuation continue_text(LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                           GenerateOptions options);

}  // namespace troupe
