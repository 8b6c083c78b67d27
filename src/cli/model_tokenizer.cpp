#include "cli/model_tokenizer.h"

#include "base/error.h"

namespace troupe::cli {

Tokenizer load_model_tokenizer(const std::string& flag, const std::filesystem::path& model_folder,
                               const ModelConfig& config) {
  Tokenizer tokenizer = Tokenizer::load(flag.empty() ? model_folder.string() : flag);
  if (tokenizer.vocab_size() > config.vocab_size)
    fail(ErrorCode::kUsage, "--tokenizer: expected at most {} ids (the model's vocabulary), got {}", config.vocab_size,
         tokenizer.vocab_size());
  return tokenizer;
}

}  // namespace troupe::cli
