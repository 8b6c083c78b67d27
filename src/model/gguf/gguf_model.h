// A GGUF file as a model of ours, by the family of Hugging Face that it is.
#pragma once

#include <filesystem>
#include <string>

#include "io/gguf.h"
#include "model/gguf/gguf_families.h"
#include "model/hf/families.h"
#include "nn/parameters.h"

namespace troupe {

class GgufModel {
 public:
  explicit GgufModel(const std::filesystem::path& path);  // throws kData as its parts do

  const ModelConfig& config() const { return config_; }
  const HfFamily& family() const { return *family_; }
  // Throws kData unless the tensors are exactly those of the table.
  void check_against(const ParameterTable& table) const;
  // The values of one parameter, after check_against(): memory for one tensor, of one expert.
  void read(const Parameter& parameter, std::span<float> out) const;

 private:
  GgufFile file_;
  const GgufFamily* row_;
  const HfFamily* family_;
  ModelConfig config_;
};

}  // namespace troupe
