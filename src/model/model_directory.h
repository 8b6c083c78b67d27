// A model on disk: a folder with config.json, model.safetensors (or shards with model.safetensors.index.json) and
// tokenizer.json (docs/formats/model.md). A checkpoint of a run is such a folder too, and so is a Hugging Face model of
// a family that model/hf/families.cpp knows.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/language_model.h"
#include "model/model_tensors.h"
#include "nn/parameters.h"
#include "troupe/config.h"

namespace troupe {

// Of a model of a run that trained adapters: they are in its weights, and in files of this stem.
inline constexpr const char* kAdapterStem = "adapter";

// Writes and reads config.json. Reading throws kData for a missing file, an unknown key, a wrong type or value, or
// another program's model that is of no family we know.
std::string config_json(const ModelConfig& config, const std::string& family = {});
ModelConfig read_model_config(const std::filesystem::path& folder);
// The family of Hugging Face models that a folder's is of, or was before it was converted; "" if it was none.
std::string model_family(const std::filesystem::path& folder);

// Gives the values of one parameter, in any order.
using ParameterSource = std::function<void(const Parameter&, std::span<float>)>;

// The parameters of a folder, and what opens messages about them. Throws kData unless its tensors are exactly those of
// the table, naming the first that is missing, not expected or of another shape.
struct OpenParameters {
  std::string where;
  ParameterSource read;
};
OpenParameters open_parameters(const std::filesystem::path& folder, const ParameterTable& table);
// What is read of the model at `folder`, with an adapter (model/hf/peft.h; its folder, or a run's) merged into it,
// unless `adapter` is empty. A line of the log says on which model it was trained; a warning, if on other weights.
ParameterSource with_adapter(ParameterSource source, const std::filesystem::path& folder,
                             const std::filesystem::path& adapter, const ModelConfig& config,
                             const std::string& family);

// Fills the store from a folder. Throws kData as open_parameters() does, before anything is written, and
// naming the first weight that is not finite.
void load_parameters(const std::filesystem::path& folder, ParameterStore<float>& params);
// The same for all that a model keeps, packed weights too, with an adapter if one is given.
void load_parameters(const std::filesystem::path& folder, LanguageModel& model,
                     const std::filesystem::path& adapter = {});

// A model ready for use, but not for training (DecoderOptions::inference): read_model_config() and load_parameters().
// The folder may also be that of a run with checkpoints: then the newest complete one is taken.
std::unique_ptr<LanguageModel> load_model(const std::filesystem::path& folder, Precision precision,
                                          const std::filesystem::path& adapter = {});

// `folder` itself if it has a config.json, else its newest complete checkpoint (also below folder/checkpoints), else an
// error (kData) that says what was expected.
std::filesystem::path find_model(const std::filesystem::path& folder);

// Whether there are weights in it, in one file or shards.
bool has_weights(const std::filesystem::path& folder);
// What a folder's model consists of: configuration, weights and tokenizer, as many files as there are.
std::vector<std::filesystem::path> model_files(const std::filesystem::path& folder);

// The parameters of a store as float32 tensors to write, in the table's order.
std::vector<TensorToWrite> tensors_of(const ParameterStore<float>& params);
std::vector<TensorToWrite> tensors_of(const ParameterStore<bf16>& params);

// Writes config and parameters into `folder` (which exists), one parameter at a time in memory.
void write_model(const std::filesystem::path& folder, const ModelConfig& config, const ParameterSource& source,
                 const SaveOptions& options = {});
void write_model(const std::filesystem::path& folder, const ModelConfig& config, const ParameterStore<float>& params,
                 const SaveOptions& options = {});

}  // namespace troupe
