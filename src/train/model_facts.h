// What every line of results says of the model (eval/result_lines.h): its size, and what its training took.
#pragma once

#include <string>

#include "eval/result_lines.h"
#include "troupe/config.h"

namespace troupe {

// `model` is a model's folder or a run, as given, and so is an adapter that is merged into it. Tokens are those given,
// if any, else those that the folder names.
ModelFacts model_facts(const std::string& model, const ModelConfig& config, double train_tokens,
                       const std::string& adapter = {});

}  // namespace troupe
