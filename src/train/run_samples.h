// What the model of a run writes meanwhile: continuations of train.samples.prompts. They read the model and change
// nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"
#include "train/run_config.h"

namespace troupe {

class RunSamples {
 public:
  // Reads the tokenizer if there is something to sample. Throws kData without one, kUsage for a prompt that does not
  // fit into the model's learned positions.
  RunSamples(const RunConfig& config, const std::filesystem::path& tokenizer_json, const std::string& where);

  bool empty() const { return !tokenizer_; }
  // One line a prompt: {"schema":"troupe.sample/1", "step", "prompt", "text", "tokens", "finish_reason"}. `between` is
  // called between prompts and may throw to stop.
  std::vector<nlohmann::ordered_json> run(LanguageModel& model, int64_t step,
                                          const std::function<void()>& between) const;

 private:
  SamplesConfig config_;
  std::optional<Tokenizer> tokenizer_;
};

}  // namespace troupe
