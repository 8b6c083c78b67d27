#include "model/model_directory.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "io/json_config.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/tokenizer_files.h"
#include "model/decoder_parameters.h"
#include "model/hf/hf_model.h"
#include "model/hf/hf_write.h"
#include "model/hf/peft.h"
#include "model/weights_sum.h"
#include "ops/adam.h"
#include "ops/transfer.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

constexpr const char *kConfig = "config.json", *kWeights = "model.safetensors", *kFormat = "troupe.model/1",
                     *kFamily = "family";

}  // namespace

std::string config_json(const ModelConfig& config, const std::string& family) {
  nlohmann::ordered_json object = {{"format", kFormat}};
  if (!family.empty()) object[kFamily] = family;
  object.update(to_json(fields_of(config)));
  return json_file_text(object);
}

ModelConfig read_model_config(const fs::path& folder) {
  if (is_hf_model(folder)) return read_hf_config(folder);
  const fs::path path = folder / kConfig;
  nlohmann::json object = read_json_file(path);
  if (!object.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", path.string(), object.type_name());
  const auto format = object.find("format");
  if (format == object.end() || *format != kFormat)
    fail(ErrorCode::kData, "{}: format: expected \"{}\" (or a model_type of Hugging Face), got {}", path.string(),
         kFormat, format == object.end() ? "none" : json_excerpt(*format));
  object.erase(format);
  object.erase(kFamily);
  ModelConfig config;
  FieldList fields = fields_of(config);
  from_json(object, path.string(), fields);
  try {
    check(config, path.string());
  } catch (const Error& error) {
    throw Error(ErrorCode::kData, error.what());
  }
  return config;
}

std::string model_family(const fs::path& folder) {
  const nlohmann::json object = read_json_file(folder / kConfig);
  const auto family = object.find(object.contains("format") ? kFamily : "model_type");
  return family != object.end() && family->is_string() ? family->get<std::string>() : std::string();
}

OpenParameters open_parameters(const fs::path& folder, const ParameterTable& table) {
  if (is_hf_model(folder)) {
    const auto model = std::make_shared<const HfModel>(folder);
    model->check_against(table);
    return {model->where(),
            [model](const Parameter& parameter, std::span<float> values) { model->read(parameter, values); }};
  }
  const auto tensors = std::make_shared<const ModelTensors>(folder);
  tensors->check_against(table);
  return {tensors->where(), [tensors](const Parameter& parameter, std::span<float> values) {
            const TensorView& tensor = *tensors->find(parameter.name);
            convert_to_f32(tensor, values, tensors->where());
            tensors->give_back(tensor.bytes);  // so that a model is in memory once
          }};
}

namespace {

void read_parameter(const OpenParameters& source, const Parameter& parameter, std::span<float> values) {
  from_host(values, [&](std::span<float> room) { source.read(parameter, room); });
  if (const int64_t at = find_non_finite<float>(values); at >= 0)
    fail(ErrorCode::kData,
         "{}: {}: expected finite weights, got {} at index {} (training diverged, or the file is damaged)",
         source.where, parameter.name, to_host<float>(values, at), at);
}

void read_parameters(const OpenParameters& source, ParameterStore<float>& params) {
  for (const Parameter& parameter : params.entries()) read_parameter(source, parameter, params.at(parameter.slot));
}

}  // namespace

void load_parameters(const fs::path& folder, ParameterStore<float>& params) {
  read_parameters(open_parameters(folder, params.table()), params);
}

namespace {

// Whether a model has the weights that an adapter was trained on, known once all that it adapts are read.
struct AdaptedWeights {
  std::string of_adapter;  // their sum; "": not known
  int64_t count = 0;       // parameters
  std::set<std::string> seen = {};
  WeightsSum sum = {};

  // True once, with the last.
  bool are_others(const std::string& name, std::span<const float> values) {
    if (of_adapter.empty() || !seen.insert(name).second) return false;
    sum.add(name, values);
    return static_cast<int64_t>(seen.size()) == count && sum.text() != of_adapter;
  }
};

}  // namespace

ParameterSource with_adapter(ParameterSource source, const fs::path& folder, const fs::path& adapter,
                             const ModelConfig& config, const std::string& family) {
  if (adapter.empty()) return source;
  const bool has_own = has_tensor_files(folder, kAdapterStem);
  if (has_own)
    log::warning("{}: adapters of its own training are in its weights already; {} is added to them", folder.string(),
                 adapter.string());
  const auto peft = std::make_shared<const PeftAdapter>(find_adapter(adapter), config, find_hf_family(config, family));
  log::info("{}: adapters of {}, merged into the model's weights as they are read (trained on {}{})", adapter.string(),
            counted(peft->num_modules(), "module"),
            peft->base_model().empty() ? "a model that their files do not name" : peft->base_model(),
            peft->base_weights().empty() ? "; whether on these weights their files do not say" : "");
  const auto base = std::make_shared<AdaptedWeights>(
      AdaptedWeights{.of_adapter = has_own ? "" : peft->base_weights(), .count = peft->num_parameters()});
  return [=, source = std::move(source)](const Parameter& parameter, std::span<float> values) {
    source(parameter, values);
    if (peft->adapts(parameter) && base->are_others(parameter.name, values))
      log::warning("{}: adapters trained on {}, whose weights {} does not have: on others they mean little, unless those "
                   "are nearly the same",
                   adapter.string(), peft->base_model(), folder.string());
    peft->add_to(parameter, values);
  };
}

void load_parameters(const fs::path& folder, LanguageModel& model, const fs::path& adapter) {
  OpenParameters source = open_parameters(folder, model.table());
  if (!adapter.empty())
    source.read = with_adapter(std::move(source.read), folder, adapter, model.config(), model_family(folder));
  read_parameters(source, model.params());
  model.pack_weights(
      [&](const Parameter& parameter, std::span<float> values) { read_parameter(source, parameter, values); });
}

bool has_weights(const fs::path& folder) { return has_tensor_files(folder); }

std::vector<fs::path> model_files(const fs::path& folder) {
  std::vector<fs::path> files = tensor_files(folder).all();
  if (fs::exists(folder / kConfig)) files.push_back(folder / kConfig);
  for (const char* name : kTokenizerFiles)
    if (fs::exists(folder / name)) files.push_back(folder / name);
  return files;
}

fs::path find_model(const fs::path& folder) {
  if (!fs::is_directory(folder))
    fail(ErrorCode::kData, "{}: expected a model's folder, got {}", folder.string(),
         !fs::exists(folder)             ? "nothing of this name"
         : folder.extension() == ".gguf" ? "a file (troupe convert FILE.gguf DIR makes a folder of it)"
                                         : "a file");
  if (fs::exists(folder / kConfig)) return folder;
  for (const fs::path& root : {folder, folder / "checkpoints"})
    if (const auto checkpoint = newest_complete(root)) return checkpoint->folder;
  fail(ErrorCode::kData, "{}: expected a model ({} and {}) or a run with a complete checkpoint, got neither",
       folder.string(), kConfig, kWeights);
}

std::unique_ptr<LanguageModel> load_model(const fs::path& folder, Precision precision, const fs::path& adapter) {
  const fs::path found = find_model(folder);
  auto model = std::make_unique<LanguageModel>(read_model_config(found), precision, DecoderOptions{.inference = true});
  load_parameters(found, *model, adapter);
  return model;
}

namespace {

template <class T>
std::vector<TensorToWrite> tensors_in(const ParameterStore<T>& params) {
  std::vector<TensorToWrite> tensors;
  const auto room = std::make_shared<Buffer<T>>();
  for (const Parameter& parameter : params.entries()) {
    const std::span<const T> values = params.at(parameter.slot);
    tensors.push_back({.name = parameter.name, .dtype = dtype_of<T>(), .shape = parameter.shape, .fetch = [values, room] {
                         return static_cast<const void*>(to_host(values, *room).data());
                       }});
  }
  return tensors;
}

}  // namespace

std::vector<TensorToWrite> tensors_of(const ParameterStore<float>& params) { return tensors_in(params); }
std::vector<TensorToWrite> tensors_of(const ParameterStore<bf16>& params) { return tensors_in(params); }

void write_model(const fs::path& folder, const ModelConfig& config, const ParameterSource& source,
                 const SaveOptions& options) {
  const std::vector<Parameter> entries = make_parameter_table(config).entries();
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : entries) tensors.push_back({parameter.name, parameter.shape});
  write_tensors(
      folder, tensors, [&](size_t i, std::span<float> values) { source(entries[i], values); }, options);
  write_file_atomically(folder / kConfig, config_json(config, options.family));
}

void write_model(const fs::path& folder, const ModelConfig& config, const ParameterStore<float>& params,
                 const SaveOptions& options) {
  write_model(
      folder, config,
      [&](const Parameter& parameter, std::span<float> out) {
        copy<float>(params.at(parameter.slot), out);
      },
      options);
}

}  // namespace troupe
