// The tensors of a model's folder, wherever they were written.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"
#include "nn/parameters.h"

namespace troupe {

// STEM.safetensors and STEM.safetensors.index.json.
std::string tensors_file_name(const std::string& stem);
std::string tensors_index_name(const std::string& stem);

// The files that hold a folder's tensors; of several, weight_map says which holds which. Throws kData.
std::vector<std::filesystem::path> tensor_files(const std::filesystem::path& folder, const std::string& stem,
                                                std::unordered_map<std::string, std::string>& weight_map);

// The tensors of a folder's file or shards, mapped: STEM.safetensors, or any number of files that
// STEM.safetensors.index.json names. A tensor is found by its name; who wrote how many files plays no part.
class ModelTensors {
 public:
  // Throws kData naming the file: neither a file nor an index, a shard missing or broken, a tensor twice or in another
  // shard than the index says.
  explicit ModelTensors(const std::filesystem::path& folder, const std::string& stem = "model");

  const std::vector<const TensorView*>& tensors() const { return tensors_; }  // in the order of the files
  const TensorView* find(const std::string& name) const;                      // nullptr if absent
  const std::string& where() const { return where_; }
  // Values as float32; throws kData if absent or of another shape.
  void read_f32(const std::string& name, const Shape& shape, std::span<float> out) const;
  // Throws kData unless the tensors are exactly those of the table, naming the first that is missing, not expected or
  // of another shape, and how many there are.
  void check_against(const ParameterTable& table) const;

 private:
  std::string where_;
  std::vector<SafetensorsFile> files_;
  std::vector<const TensorView*> tensors_;
  std::unordered_map<std::string, const TensorView*> index_;
};

struct NamedTensor {
  std::string name;
  Shape shape;
};

struct SaveOptions {
  int64_t max_shard_bytes = 5'000'000'000;  // one file below it, shards of about this size above
  DType dtype = DType::kF32;                // kF32 or kBf16
  std::string family = {};                  // config.json's word on what a model of ours was before, if anything
};

// Writes tensors as model.safetensors into `folder` (which exists), or as shards with an index: fill(i, values) gives
// those of tensor i, one at a time in memory and in order.
void write_tensors(const std::filesystem::path& folder, const std::vector<NamedTensor>& tensors,
                   const std::function<void(size_t, std::span<float>)>& fill, const SaveOptions& options);

}  // namespace troupe
