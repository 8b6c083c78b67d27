// A model on disk: a folder with config.json, model.safetensors (or shards with model.safetensors.index.json) and
// tokenizer.json (docs/formats/model.md). A checkpoint of a run is such a folder too.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"
#include "model/language_model.h"
#include "nn/parameters.h"
#include "troupe/config.h"

namespace troupe {

// Writes and reads config.json. Reading throws kData for a missing file, an unknown key, a wrong type or value, or a
// folder of another program's model.
std::string config_json(const ModelConfig& config);
ModelConfig read_model_config(const std::filesystem::path& folder);

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

// Fills the store from a folder. Throws kData as ModelTensors and check_against() do, before anything is written, and
// naming the first weight that is not finite.
void load_parameters(const std::filesystem::path& folder, ParameterStore<float>& params);
// The same for all that a model keeps, packed weights too.
void load_parameters(const std::filesystem::path& folder, LanguageModel& model);

// A model ready for use, but not for training (DecoderOptions::inference): read_model_config() and load_parameters().
// The folder may also be that of a run with checkpoints: then the newest complete one is taken.
std::unique_ptr<LanguageModel> load_model(const std::filesystem::path& folder, Precision precision);

// `folder` itself if it has a config.json, else its newest complete checkpoint (also below folder/checkpoints), else an
// error (kData) that says what was expected.
std::filesystem::path find_model(const std::filesystem::path& folder);

// Whether there are weights in it, in one file or shards.
bool has_weights(const std::filesystem::path& folder);
// What a folder's model consists of: configuration, weights and tokenizer, as many files as there are.
std::vector<std::filesystem::path> model_files(const std::filesystem::path& folder);

// The parameters of a store as float32 tensors to write, in the table's order.
std::vector<TensorToWrite> tensors_of(const ParameterStore<float>& params);

// Gives the values of one parameter; called once each, in the table's order.
using ParameterSource = std::function<void(const Parameter&, std::span<float>)>;

struct SaveOptions {
  int64_t max_shard_bytes = 5'000'000'000;  // one file below it, shards of about this size above
};

// Writes config and parameters into `folder` (which exists), one parameter at a time in memory.
void write_model(const std::filesystem::path& folder, const ModelConfig& config, const ParameterSource& source,
                 const SaveOptions& options = {});
void write_model(const std::filesystem::path& folder, const ModelConfig& config, const ParameterStore<float>& params,
                 const SaveOptions& options = {});

}  // namespace troupe
