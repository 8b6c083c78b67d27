#include "model/model_tensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "tensor/bf16.h"
#include "tensor/buffer.h"

namespace troupe {

namespace fs = std::filesystem;

std::string tensors_index_name(const std::string& stem) { return stem + ".safetensors.index.json"; }

namespace {

std::string tensors_file_name(const std::string& stem) { return stem + ".safetensors"; }

constexpr const char *kTorchFile = "pytorch_model.bin", *kTorchIndex = "pytorch_model.bin.index.json";

// Names that say where tensors are, the preferred first.
std::vector<std::string> names_of(const std::string& stem) {
  std::vector<std::string> names = {tensors_file_name(stem), tensors_index_name(stem)};
  if (stem == "model") names.insert(names.end(), {kTorchFile, kTorchIndex});
  return names;
}

bool is_torch(const fs::path& file) { return file.extension() == ".bin"; }

}  // namespace

std::vector<fs::path> TensorFiles::all() const {
  std::vector<fs::path> all = files;
  if (is_indexed()) all.push_back(where);
  return all;
}

bool has_tensor_files(const fs::path& folder, const std::string& stem) {
  const std::vector<std::string> names = names_of(stem);
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return fs::exists(folder / name); });
}

TensorFiles tensor_files(const fs::path& folder, const std::string& stem) {
  const std::vector<std::string> names = names_of(stem);
  const auto name =
      std::find_if(names.begin(), names.end(), [&](const std::string& name) { return fs::exists(folder / name); });
  if (name == names.end())
    fail(ErrorCode::kData, "{}: expected one of {}, got none", folder.string(), fmt::join(names, ", "));
  TensorFiles found{.where = folder / *name, .files = {}, .weight_map = {}};
  if (!name->ends_with(".json")) {
    found.files = {found.where};
    return found;
  }
  const std::string where = found.where.string();
  const nlohmann::json index = read_json_file(found.where);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object() || map->empty())
    fail(ErrorCode::kData, "{}: weight_map: expected an object of tensor names and files, got none", where);
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || file.get_ref<const std::string&>().find('/') != std::string::npos)
      fail(ErrorCode::kData, "{}: weight_map.{}: expected the name of a file in this folder, got {}", where, tensor,
           json_excerpt(file));
    found.weight_map[tensor] = file.get<std::string>();
    files.insert(file.get<std::string>());
  }
  for (const std::string& file : files) found.files.push_back(folder / file);
  return found;
}

ModelTensors::ModelTensors(const fs::path& folder, const std::string& stem) {
  const TensorFiles found = tensor_files(folder, stem);
  where_ = found.where.string();
  files_.reserve(found.files.size()), torch_files_.reserve(found.files.size());
  for (const fs::path& path : found.files) {
    if (is_torch(path)) {
      for (const TensorView& tensor : torch_files_.emplace_back(path).tensors()) add(found, path, tensor);
    } else {
      for (const TensorView& tensor : files_.emplace_back(path).tensors()) add(found, path, tensor);
    }
  }
  for (const auto& [name, file] : found.weight_map)
    if (!index_.contains(name))
      fail(ErrorCode::kData, "{}: weight_map.{}: expected this tensor in {}, got none", where_, name, file);
}

void ModelTensors::add(const TensorFiles& files, const fs::path& file, const TensorView& tensor) {
  if (files.is_indexed()) {
    const auto planned = files.weight_map.find(tensor.name);
    if (planned == files.weight_map.end() || planned->second != file.filename())
      fail(ErrorCode::kData, "{}: {}: expected a tensor that {} places here, got one that it does not", file.string(),
           tensor.name, files.where.filename().string());
  }
  index_.emplace(tensor.name, &tensor);
  tensors_.push_back(&tensor);
}

const TensorView* ModelTensors::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : found->second;
}

std::string ModelTensors::metadata(const std::string& key) const {
  for (const SafetensorsFile& file : files_)
    if (const auto found = file.metadata().find(key); found != file.metadata().end()) return found->second;
  return {};
}

void ModelTensors::read_f32(const std::string& name, const Shape& shape, std::span<float> out) const {
  const TensorView* tensor = find(name);
  if (!tensor || tensor->shape != shape)
    fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where_, name, to_string(shape),
         tensor ? describe(tensor->dtype, tensor->shape) : "no such tensor");
  convert_to_f32(*tensor, out, where_);
}

void ModelTensors::give_back(std::span<const uint8_t> bytes) const {
  for (const TorchTensors& file : torch_files_)
    if (file.is_gathered(bytes)) return;
  give_back_pages(bytes);
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

// Consecutive ranges [begin, end) of at most `max_bytes` each (a larger tensor has its own).
std::vector<std::pair<size_t, size_t>> cut_into_shards(const std::vector<NamedTensor>& tensors,
                                                       const SaveOptions& options) {
  std::vector<std::pair<size_t, size_t>> shards;
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t size = num_elements(tensors[i].shape) * size_of(options.dtype);
    if (i > begin && bytes + size > options.max_shard_bytes) {
      shards.emplace_back(begin, i);
      begin = i;
      bytes = 0;
    }
    bytes += size;
  }
  shards.emplace_back(begin, tensors.size());
  return shards;
}

// Rounds in place, from the front: the narrow values never overtake the wide ones.
void append_bf16(SafetensorsWriter& writer, std::span<float> values) {
  auto* const narrow = reinterpret_cast<std::byte*>(values.data());
  for (size_t i = 0; i < values.size(); ++i) {
    const bf16 rounded(values[i]);
    std::memcpy(narrow + i * sizeof rounded, &rounded, sizeof rounded);
  }
  writer.append(narrow, values.size() * sizeof(bf16));
}

void write_shard(const fs::path& path, std::span<const NamedTensor> tensors,
                 const std::function<void(size_t, std::span<float>)>& fill, DType dtype) {
  std::vector<TensorToWrite> header;
  for (const NamedTensor& tensor : tensors) header.push_back({tensor.name, dtype, tensor.shape});
  write_file_atomically(path, [&](FileWriter& file) {
    SafetensorsWriter writer(file, header, {{"format", "pt"}});  // the mark that other readers of the format expect
    Buffer<float> values;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const int64_t size = num_elements(tensors[i].shape);
      values.reserve(size);
      const std::span<float> room = values.span().first(static_cast<size_t>(size));
      fill(i, room);
      if (dtype == DType::kF32)
        writer.append(room.data(), room.size_bytes());
      else
        append_bf16(writer, room);
    }
    writer.finish();
  });
}

}  // namespace

void write_tensors(const fs::path& folder, const std::vector<NamedTensor>& tensors,
                   const std::function<void(size_t, std::span<float>)>& fill, const SaveOptions& options) {
  const auto shards = cut_into_shards(tensors, options);
  nlohmann::json weight_map = nlohmann::json::object();
  int64_t total = 0;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    const auto [begin, end] = shards[shard];
    const std::string name = shards.size() == 1
                                 ? tensors_file_name("model")
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards.size());
    write_shard(folder / name, std::span(tensors).subspan(begin, end - begin),
                [&, first = begin](size_t i, std::span<float> values) { fill(first + i, values); }, options.dtype);
    for (size_t i = begin; i < end; ++i) {
      weight_map[tensors[i].name] = name;
      total += num_elements(tensors[i].shape) * size_of(options.dtype);
    }
  }
  if (shards.size() > 1)
    write_json_file(folder / tensors_index_name("model"),
                    nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});
}

}  // namespace troupe
