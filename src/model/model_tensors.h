// The tensors of a model's folder, wherever they were written.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"
#include "model/torch_tensors.h"
#include "nn/parameters.h"

namespace troupe {

// The files that hold a folder's tensors.
struct TensorFiles {
  std::filesystem::path where;               // the only file, or the index
  std::vector<std::filesystem::path> files;  // safetensors, or (model/torch_tensors.h) torch's
  std::unordered_map<std::string, std::string> weight_map;  // of an index: which file a tensor is in

  bool is_indexed() const { return !weight_map.empty(); }
  std::vector<std::filesystem::path> all() const;  // with the index, if there is one
};

// STEM.safetensors.index.json.
std::string tensors_index_name(const std::string& stem);

// STEM.safetensors, or the shards of STEM.safetensors.index.json; of a model without either pytorch_model.bin, or the
// shards of pytorch_model.bin.index.json. Throws kData.
TensorFiles tensor_files(const std::filesystem::path& folder, const std::string& stem = "model");
bool has_tensor_files(const std::filesystem::path& folder, const std::string& stem = "model");

// The tensors of a folder's file or shards, mapped. A tensor is found by its name; who wrote how many files of which
// kind plays no part.
class ModelTensors {
 public:
  // Throws kData naming the file: neither a file nor an index, a shard missing or broken, a tensor twice or in another
  // shard than the index says.
  explicit ModelTensors(const std::filesystem::path& folder, const std::string& stem = "model");

  const std::vector<const TensorView*>& tensors() const { return tensors_; }  // in the order of the files
  const TensorView* find(const std::string& name) const;                      // nullptr if absent
  const std::string& where() const { return where_; }
  std::string metadata(const std::string& key) const;  // of the first file that has it; "" if none has
  // Values as float32; throws kData if absent or of another shape.
  void read_f32(const std::string& name, const Shape& shape, std::span<float> out) const;
  // Gives back the memory of these bytes of a tensor: they would be read from the file again.
  void give_back(std::span<const uint8_t> bytes) const;
  // Throws kData unless the tensors are exactly those of the table, naming the first that is missing, not expected or
  // of another shape, and how many there are.
  void check_against(const ParameterTable& table) const;

 private:
  void add(const TensorFiles& files, const std::filesystem::path& file, const TensorView& tensor);

  std::string where_;
  std::vector<SafetensorsFile> files_;
  std::vector<TorchTensors> torch_files_;
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
