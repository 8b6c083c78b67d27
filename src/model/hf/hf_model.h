// A Hugging Face directory as a model of ours: config.json, and model.safetensors or pytorch_model.bin or the shards of
// either.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/hf/families.h"
#include "model/model_tensors.h"
#include "nn/parameters.h"

namespace troupe {

// Whether a folder's config.json is that of a Hugging Face model.
bool is_hf_model(const std::filesystem::path& folder);

// A config.json by its family's row. Throws kData naming file and key for a setting that this decoder has no fact for;
// a key that no row knows is a line of the log, once in a process.
ModelConfig read_hf_config(const std::filesystem::path& folder);

// The facts of settings by their family's row, checked. Throws kData as read_hf_config() does.
ModelConfig hf_facts(HfConfig& hf);

// Rows [row, row + rows) of a parameter [.., cols] in a tensor: element (r, c) of them is the tensor's
// offset + r row_stride + c col_stride.
struct HfPiece {
  std::string tensor;
  Shape shape;  // of the whole tensor
  int64_t offset = 0, row = 0, rows = 0, cols = 0, row_stride = 0, col_stride = 1;
};

// Where a parameter lies. Throws kData if the family has no name for it.
std::vector<HfPiece> hf_pieces(const HfFamily& family, const ModelConfig& config, const Parameter& parameter);

class HfModel {
 public:
  explicit HfModel(const std::filesystem::path& folder);  // throws kData as its parts do

  const ModelConfig& config() const { return config_; }
  const HfFamily& family() const { return *family_; }
  const std::string& where() const { return tensors_.where(); }
  // Throws kData unless the tensors are exactly those of the table.
  void check_against(const ParameterTable& table) const;
  // The values of one parameter, after check_against().
  void read(const Parameter& parameter, std::span<float> out) const;

 private:
  const TensorView* find(const std::string& name) const;  // also without the family's prefix

  ModelConfig config_;
  const HfFamily* family_;
  ModelTensors tensors_;
};

}  // namespace troupe
