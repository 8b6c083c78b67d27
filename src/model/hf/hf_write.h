// A model of ours as a Hugging Face directory that transformers loads.
#pragma once

#include <filesystem>
#include <string>

#include "model/hf/families.h"
#include "model/model_directory.h"

namespace troupe {

// The family that a model is written as: the one of that name, or ("auto") the first whose settings say all of the
// model's facts, `before` tried first (what the model was before it came here). Throws kUsage naming the facts that the nearest one, or that one, cannot express.
// find_hf_family() is the same for "auto", and null if there is none.
const HfFamily& hf_family_for(const ModelConfig& config, const std::string& name, const std::string& before = {});
const HfFamily* find_hf_family(const ModelConfig& config, const std::string& before = {});

// Writes config.json and tensors into `folder` (which exists), one tensor at a time in memory. Returns how many tensors.
int64_t write_hf_model(const std::filesystem::path& folder, const ModelConfig& config, const HfFamily& family,
                       const ParameterSource& source, const SaveOptions& options = {});

}  // namespace troupe
