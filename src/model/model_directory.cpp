#include "model/model_directory.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "io/json_config.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/mapped_file.h"
#include "io/tokenizer_files.h"
#include "model/decoder_parameters.h"
#include "ops/adam.h"
#include "ops/transfer.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

constexpr const char *kConfig = "config.json", *kWeights = "model.safetensors",
                     *kIndex = "model.safetensors.index.json", *kFormat = "troupe.model/1";

std::string whole_name(const std::string& stem) { return stem + ".safetensors"; }
std::string index_name(const std::string& stem) { return stem + ".safetensors.index.json"; }

// The files that hold the tensors; of several, weight_map says which holds which.
std::vector<fs::path> tensor_files(const fs::path& folder, const std::string& stem,
                                   std::unordered_map<std::string, std::string>& weight_map) {
  if (fs::exists(folder / whole_name(stem))) return {folder / whole_name(stem)};
  const fs::path path = folder / index_name(stem);
  if (!fs::exists(path))
    fail(ErrorCode::kData, "{}: expected {} or {}, got neither", folder.string(), whole_name(stem), index_name(stem));
  const nlohmann::json index = read_json_file(path);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object())
    fail(ErrorCode::kData, "{}: weight_map: expected an object of tensor names and files, got none", path.string());
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || file.get_ref<const std::string&>().find('/') != std::string::npos)
      fail(ErrorCode::kData, "{}: weight_map.{}: expected the name of a file in this folder, got {}", path.string(),
           tensor, json_excerpt(file));
    weight_map[tensor] = file.get<std::string>();
    names.insert(file.get<std::string>());
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) files.push_back(folder / name);
  return files;
}

// Consecutive ranges of the table of at most `max_bytes` each (a larger parameter has its own).
std::vector<std::span<const Parameter>> cut_into_shards(const std::vector<Parameter>& entries, int64_t max_bytes) {
  std::vector<std::span<const Parameter>> shards;
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const int64_t size = entries[i].size() * static_cast<int64_t>(sizeof(float));
    if (i > begin && bytes + size > max_bytes) {
      shards.emplace_back(entries.data() + begin, i - begin);
      begin = i;
      bytes = 0;
    }
    bytes += size;
  }
  shards.emplace_back(entries.data() + begin, entries.size() - begin);
  return shards;
}

void write_shard(const fs::path& path, std::span<const Parameter> parameters, const ParameterSource& source) {
  std::vector<TensorToWrite> tensors;
  for (const Parameter& parameter : parameters) tensors.push_back({parameter.name, DType::kF32, parameter.shape});
  write_file_atomically(path, [&](FileWriter& file) {
    SafetensorsWriter writer(file, tensors, {{"format", "pt"}});  // the mark that other readers of the format expect
    Buffer<float> values;
    for (const Parameter& parameter : parameters) {
      values.reserve(parameter.size());
      const std::span<float> room = values.span().first(static_cast<size_t>(parameter.size()));
      source(parameter, room);
      writer.append(room.data(), room.size_bytes());
    }
    writer.finish();
  });
}

}  // namespace

std::string config_json(const ModelConfig& config) {
  nlohmann::ordered_json object = {{"format", kFormat}};
  object.update(to_json(fields_of(config)));
  return json_file_text(object);
}

ModelConfig read_model_config(const fs::path& folder) {
  const fs::path path = folder / kConfig;
  nlohmann::json object = read_json_file(path);
  if (!object.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", path.string(), object.type_name());
  const auto format = object.find("format");
  if (format == object.end() || *format != kFormat)
    fail(ErrorCode::kData, "{}: format: expected \"{}\", got {}{}", path.string(), kFormat,
         format == object.end() ? "none" : json_excerpt(*format),
         object.contains("architectures") ? " (this is a Hugging Face model; it cannot be read yet)" : "");
  object.erase(format);
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

ModelTensors::ModelTensors(const fs::path& folder, const std::string& stem) {
  std::unordered_map<std::string, std::string> weight_map;
  const std::vector<fs::path> paths = tensor_files(folder, stem, weight_map);
  const std::string index = index_name(stem);
  where_ = (folder / (weight_map.empty() ? whole_name(stem) : index)).string();
  files_.reserve(paths.size());
  for (const fs::path& path : paths) {
    const SafetensorsFile& file = files_.emplace_back(path);
    for (const TensorView& tensor : file.tensors()) {
      if (!weight_map.empty()) {
        const auto planned = weight_map.find(tensor.name);
        if (planned == weight_map.end() || planned->second != path.filename())
          fail(ErrorCode::kData, "{}: {}: expected a tensor that {} places here, got one that it does not",
               file.where(), tensor.name, index);
      }
      index_.emplace(tensor.name, &tensor);
      tensors_.push_back(&tensor);
    }
  }
  for (const auto& [name, file] : weight_map)
    if (!index_.contains(name))
      fail(ErrorCode::kData, "{}: weight_map.{}: expected this tensor in {}, got none", where_, name, file);
}

const TensorView* ModelTensors::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : found->second;
}

void ModelTensors::read_f32(const std::string& name, const Shape& shape, std::span<float> out) const {
  const TensorView* tensor = find(name);
  if (!tensor || tensor->shape != shape)
    fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where_, name, to_string(shape),
         tensor ? describe(tensor->dtype, tensor->shape) : "no such tensor");
  convert_to_f32(*tensor, out, where_);
}

void ModelTensors::check_against(const ParameterTable& table) const {
  std::string first;
  int64_t problems = 0;
  const auto report = [&](std::string problem) {
    if (++problems == 1) first = std::move(problem);
  };
  for (const Parameter& parameter : table.entries()) {
    const TensorView* tensor = find(parameter.name);
    if (!tensor)
      report(
          fmt::format("{}: expected {}, got no such tensor", parameter.name, describe(DType::kF32, parameter.shape)));
    else if (tensor->shape != parameter.shape)
      report(fmt::format("{}: expected {} (by config.json), got {}", parameter.name, to_string(parameter.shape),
                         describe(tensor->dtype, tensor->shape)));
  }
  for (const TensorView* tensor : tensors_)
    if (!table.find_or_null(tensor->name))
      report(fmt::format("{}: expected only tensors of the model of config.json, got this one", tensor->name));
  if (problems > 1) first += fmt::format(" (and {} more tensors that do not fit)", problems - 1);
  if (problems > 0) fail(ErrorCode::kData, "{}: {}", where_, first);
}

namespace {

// The values of one parameter; the file's pages are given back, so that a model is in memory once.
void read_parameter(const ModelTensors& tensors, const Parameter& parameter, std::span<float> values) {
  const TensorView& tensor = *tensors.find(parameter.name);
  from_host(values, [&](std::span<float> room) { convert_to_f32(tensor, room, tensors.where()); });
  give_back_pages(tensor.bytes);
  if (const int64_t at = find_non_finite<float>(values); at >= 0)
    fail(ErrorCode::kData,
         "{}: {}: expected finite weights, got {} at index {} (training diverged, or the file is damaged)",
         tensors.where(), parameter.name, to_host<float>(values, at), at);
}

void read_parameters(const ModelTensors& tensors, ParameterStore<float>& params) {
  for (const Parameter& parameter : params.entries()) read_parameter(tensors, parameter, params.at(parameter.slot));
}

}  // namespace

void load_parameters(const fs::path& folder, ParameterStore<float>& params) {
  const ModelTensors tensors(folder);
  tensors.check_against(params.table());
  read_parameters(tensors, params);
}

void load_parameters(const fs::path& folder, LanguageModel& model) {
  const ModelTensors tensors(folder);
  tensors.check_against(model.table());
  read_parameters(tensors, model.params());
  model.pack_weights(
      [&](const Parameter& parameter, std::span<float> values) { read_parameter(tensors, parameter, values); });
}

bool has_weights(const fs::path& folder) { return fs::exists(folder / kWeights) || fs::exists(folder / kIndex); }

std::vector<fs::path> model_files(const fs::path& folder) {
  std::unordered_map<std::string, std::string> weight_map;
  std::vector<fs::path> files = tensor_files(folder, "model", weight_map);
  if (!weight_map.empty()) files.push_back(folder / kIndex);
  if (fs::exists(folder / kConfig)) files.push_back(folder / kConfig);
  for (const char* name : kTokenizerFiles)
    if (fs::exists(folder / name)) files.push_back(folder / name);
  return files;
}

fs::path find_model(const fs::path& folder) {
  if (!fs::is_directory(folder))
    fail(ErrorCode::kData, "{}: expected a model's folder, got {}", folder.string(),
         fs::exists(folder) ? "a file" : "nothing of this name");
  if (fs::exists(folder / kConfig)) return folder;
  for (const fs::path& root : {folder, folder / "checkpoints"})
    if (const auto checkpoint = newest_complete(root)) return checkpoint->folder;
  fail(ErrorCode::kData, "{}: expected a model ({} and {}) or a run with a complete checkpoint, got neither",
       folder.string(), kConfig, kWeights);
}

std::unique_ptr<LanguageModel> load_model(const fs::path& folder, Precision precision) {
  const fs::path found = find_model(folder);
  auto model = std::make_unique<LanguageModel>(read_model_config(found), precision, DecoderOptions{.inference = true});
  load_parameters(found, *model);
  return model;
}

std::vector<TensorToWrite> tensors_of(const ParameterStore<float>& params) {
  std::vector<TensorToWrite> tensors;
  for (const Parameter& parameter : params.entries())
    tensors.push_back({parameter.name, DType::kF32, parameter.shape, params.at(parameter.slot).data()});
  return tensors;
}

void write_model(const fs::path& folder, const ModelConfig& config, const ParameterSource& source,
                 const SaveOptions& options) {
  const std::vector<Parameter> entries = make_parameter_table(config).entries();
  const auto shards = cut_into_shards(entries, options.max_shard_bytes);
  if (shards.size() == 1) {
    write_shard(folder / kWeights, shards[0], source);
  } else {
    nlohmann::json weight_map = nlohmann::json::object();
    int64_t total = 0;
    for (size_t i = 0; i < shards.size(); ++i) {
      const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
      write_shard(folder / name, shards[i], source);
      for (const Parameter& parameter : shards[i]) {
        weight_map[parameter.name] = name;
        total += parameter.size() * static_cast<int64_t>(sizeof(float));
      }
    }
    write_json_file(folder / kIndex, nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});
  }
  write_file_atomically(folder / kConfig, config_json(config));
}

void write_model(const fs::path& folder, const ModelConfig& config, const ParameterStore<float>& params,
                 const SaveOptions& options) {
  write_model(
      folder, config,
      [&](const Parameter& parameter, std::span<float> out) {
        const std::span<const float> values = params.at(parameter.slot);
        std::copy(values.begin(), values.end(), out.begin());
      },
      options);
}

}  // namespace troupe
