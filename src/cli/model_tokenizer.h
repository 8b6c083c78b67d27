// The tokenizer that goes with a model.
#pragma once

#include <filesystem>
#include <string>

#include "data/tokenizer/tokenizer.h"
#include "troupe/config.h"

namespace troupe::cli {

// The one named by --tokenizer, or that in the model's folder if `flag` is empty. Throws kUsage if it has more ids than
// the model, otherwise as Tokenizer::load() does.
Tokenizer load_model_tokenizer(const std::string& flag, const std::filesystem::path& model_folder,
                               const ModelConfig& config);

}  // namespace troupe::cli
