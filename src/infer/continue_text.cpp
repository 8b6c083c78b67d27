#include "infer/continue_text.h"

#include "base/utf8.h"

namespace troupe {

std::vector<int32_t> prompt_ids(const ModelConfig& config, const Tokenizer& tokenizer, std::string_view prompt) {
  std::vector<int32_t> ids;
  if (config.eos_id >= 0) ids.push_back(static_cast<int32_t>(config.eos_id));
  tokenizer.encode(prompt, ids);
  return ids;
}

Continuation continue_text(LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                           GenerateOptions options) {
  options.allowed = tokenizer.text_ids();
  Continuation continuation;
  continuation.generation = generate(model, prompt_ids(model.config(), tokenizer, prompt), options);
  for (const int32_t token : continuation.generation.tokens) continuation.text += tokenizer.token_bytes(token);
  continuation.text.resize(utf8_whole_bytes(continuation.text));
  return continuation;
}

}  // namespace troupe
