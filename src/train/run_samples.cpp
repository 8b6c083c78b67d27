#include "train/run_samples.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "infer/continue_text.h"

namespace troupe {

RunSamples::RunSamples(const RunConfig& config, const std::filesystem::path& tokenizer_json, const std::string& where)
    : config_(config.train.samples) {
  if (config_.every == 0) return;
  tokenizer_ = Tokenizer::load(tokenizer_json.string());
  for (const std::string& prompt : config_.prompts) {
    const size_t tokens = prompt_ids(config.model, *tokenizer_, prompt).size();
    if (config.model.positions == Positions::kLearned && tokens > static_cast<size_t>(config.model.context))
      fail(ErrorCode::kUsage, "{}: train.samples.prompts: expected at most {} tokens (model.context), got {} in \"{}\"",
           where, config.model.context, tokens, prompt);
  }
}

std::vector<nlohmann::ordered_json> RunSamples::run(LanguageModel& model, int64_t step,
                                                    const std::function<void()>& between) const {
  GenerateOptions options;
  options.max_tokens = config_.tokens;
  options.sampling.temperature = config_.temperature;
  options.sampling.seed = static_cast<uint64_t>(config_.seed);
  std::vector<nlohmann::ordered_json> lines;
  for (const std::string& prompt : config_.prompts) {
    const Continuation sample = continue_text(model, *tokenizer_, prompt, options);
    lines.push_back({{"schema", "troupe.sample/1"},
                     {"step", step},
                     {"prompt", prompt},
                     {"text", sample.text},
                     {"tokens", sample.generation.tokens.size()},
                     {"finish_reason", name_of_enum(sample.generation.finish)}});
    between();
  }
  return lines;
}

}  // namespace troupe
