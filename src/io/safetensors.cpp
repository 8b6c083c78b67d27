#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe {
namespace {

constexpr uint64_t kMaxHeaderBytes = 1u << 28;  // 256 MiB: two million tensors

uint64_t load_u64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// A list of non-negative 63-bit integers, or an error naming the field.
std::vector<int64_t> read_integers(const nlohmann::json& entry, const char* field, const std::string& where) {
  const auto found = entry.find(field);
  if (found == entry.end() || !found->is_array())
    fail(ErrorCode::kData, "{}: {}: expected a list of integers, got {}", where, field,
         found == entry.end() ? "nothing" : found->type_name());
  std::vector<int64_t> values;
  for (const auto& value : *found) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      fail(ErrorCode::kData, "{}: {}: expected integers from 0 to 2^63 - 1, got {}", where, field, json_excerpt(value));
    values.push_back(value.get<int64_t>());
  }
  return values;
}

TensorView read_entry(const std::string& name, const nlohmann::json& entry, std::span<const uint8_t> data,
                      const std::string& where) {
  const std::string here = where + ": " + name;
  if (!entry.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", here, entry.type_name());
  for (const auto& [key, value] : entry.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      fail(ErrorCode::kData, "{}: expected dtype, shape and data_offsets, got the key {}", here, key);
  TensorView tensor;
  tensor.name = name;
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string())
    fail(ErrorCode::kData, "{}: dtype: expected a string, got {}", here,
         dtype == entry.end() ? "nothing" : dtype->type_name());
  if (!dtype_from_name(dtype->get_ref<const std::string&>(), tensor.dtype))
    fail(ErrorCode::kData, "{}: dtype: expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL, got {}", here,
         dtype->get_ref<const std::string&>());
  tensor.shape = read_integers(entry, "shape", here);
  const std::vector<int64_t> offsets = read_integers(entry, "data_offsets", here);
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    fail(ErrorCode::kData, "{}: data_offsets: expected [begin, end] with begin <= end, got {}", here,
         to_string(offsets));
  if (static_cast<uint64_t>(offsets[1]) > data.size())
    fail(ErrorCode::kData,
         "{}: data_offsets: expected an end of at most {} (the file's data), got {} (truncated file?)", here,
         data.size(), offsets[1]);
  int64_t count = 0, bytes = 0;
  try {
    count = num_elements(tensor.shape);
  } catch (const Error& error) {
    fail(ErrorCode::kData, "{}: {}", here, error.what());
  }
  if (__builtin_mul_overflow(count, size_of(tensor.dtype), &bytes) || bytes != offsets[1] - offsets[0])
    fail(ErrorCode::kData, "{}: expected {} bytes for {}, got data_offsets {}", here, bytes,
         describe(tensor.dtype, tensor.shape), to_string(offsets));
  tensor.bytes = data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(bytes));
  return tensor;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : where_(path.string()), file_(path) {
  parse(file_.bytes());
}

SafetensorsFile::SafetensorsFile(std::span<const uint8_t> bytes, std::string where) : where_(std::move(where)) {
  parse(bytes);
}

void SafetensorsFile::parse(std::span<const uint8_t> bytes) {
  if (bytes.size() < 8)
    fail(ErrorCode::kData, "{}: expected a safetensors file of at least 8 bytes, got {} bytes", where_, bytes.size());
  const uint64_t header_bytes = load_u64(bytes.data());
  if (header_bytes > bytes.size() - 8 || header_bytes > kMaxHeaderBytes)
    fail(ErrorCode::kData, "{}: header length: expected at most {}, got {} (not a safetensors file, or truncated)",
         where_, std::min<uint64_t>(bytes.size() - 8, kMaxHeaderBytes), header_bytes);
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  const std::span<const uint8_t> data = bytes.subspan(8 + header_bytes);
  const nlohmann::json table = parse_json(header, where_ + ": header");
  if (!table.is_object()) fail(ErrorCode::kData, "{}: header: expected an object, got {}", where_, table.type_name());
  for (const auto& [name, entry] : table.items()) {
    if (name != "__metadata__") {
      tensors_.push_back(read_entry(name, entry, data, where_));
      continue;
    }
    if (!entry.is_object())
      fail(ErrorCode::kData, "{}: __metadata__: expected an object, got {}", where_, entry.type_name());
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string())
        fail(ErrorCode::kData, "{}: __metadata__: {}: expected a string, got {}", where_, key, value.type_name());
      metadata_[key] = value.get<std::string>();
    }
  }
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorView& a, const TensorView& b) {
    return a.bytes.data() != b.bytes.data() ? a.bytes.data() < b.bytes.data() : a.bytes.size() < b.bytes.size();
  });
  const uint8_t* end = data.data();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const TensorView& tensor = tensors_[i];
    if (tensor.bytes.data() != end)
      fail(ErrorCode::kData, "{}: {}: data_offsets: expected data from byte {} on (no gap, no overlap), got {}", where_,
           tensor.name, end - data.data(), tensor.bytes.data() - data.data());
    end += tensor.bytes.size();
    index_.emplace(tensor.name, i);
  }
  if (end != data.data() + data.size())
    fail(ErrorCode::kData, "{}: expected {} bytes of data, got {} (the header describes no more)", where_,
         end - data.data(), data.size());
}

const TensorView* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  std::vector<std::string> names;
  for (const TensorView& tensor : tensors_) names.push_back(tensor.name);
  const std::string close = nearest(name, names);
  fail(ErrorCode::kData, "{}: expected the tensor {}, got {} others{}", where_, name, names.size(),
       close.empty() ? "" : " (the nearest name is " + close + ")");
}

const TensorView& SafetensorsFile::at(const std::string& name, const Shape& shape, std::optional<DType> dtype) const {
  const TensorView& tensor = at(name);
  if (tensor.shape != shape || (dtype && *dtype != tensor.dtype))
    fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where_, name, describe(dtype.value_or(tensor.dtype), shape),
         describe(tensor.dtype, tensor.shape));
  return tensor;
}

void SafetensorsFile::read_f32(const std::string& name, const Shape& shape, std::span<float> out) const {
  convert_to_f32(at(name, shape), out, where_);
}

Tensor SafetensorsFile::read_f32(const std::string& name) const {
  const TensorView& view = at(name);
  Tensor tensor(DType::kF32, view.shape);
  convert_to_f32(view, tensor.as<float>(), where_);
  return tensor;
}

Tensor SafetensorsFile::read(const std::string& name) const {
  const TensorView& view = at(name);
  Tensor tensor(view.dtype, view.shape);
  if (!view.bytes.empty()) std::memcpy(tensor.bytes(), view.bytes.data(), view.bytes.size());
  return tensor;
}

SafetensorsWriter::SafetensorsWriter(FileWriter& file, const std::vector<TensorToWrite>& tensors,
                                     const Metadata& metadata)
    : file_(file) {
  // Written entry by entry, in the order of the list; a JSON object of the library would cost O(n^2) here.
  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + json_text(nlohmann::json(metadata));
  std::set<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      fail(ErrorCode::kInternal, "{}: {}: expected each tensor once", file.path().string(), tensor.name);
    if (find_invalid_utf8(tensor.name))
      fail(ErrorCode::kData, "{}: {}: expected a name in UTF-8, got other bytes", file.path().string(), tensor.name);
    const uint64_t bytes = static_cast<uint64_t>(num_elements(tensor.shape) * size_of(tensor.dtype));
    const nlohmann::ordered_json entry = {
        {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {left_, left_ + bytes}}};
    if (header.size() > 1) header += ',';
    header += json_text(nlohmann::json(tensor.name));
    header += ':';
    header += json_text(entry);
    left_ += bytes;
  }
  header += "}";
  header.resize((header.size() + 8 + 63) / 64 * 64 - 8, ' ');  // data starts at a multiple of 64
  const uint64_t header_bytes = header.size();
  file_.write(&header_bytes, sizeof header_bytes);
  file_.write(header);
}

void SafetensorsWriter::append(const void* data, size_t size) {
  if (size > left_) fail(ErrorCode::kInternal, "{}: more data than announced", file_.path().string());
  file_.write(data, size);
  left_ -= size;
}

void SafetensorsWriter::finish() {
  if (left_) fail(ErrorCode::kInternal, "{}: {} bytes of data missing", file_.path().string(), left_);
}

void write_safetensors(FileWriter& file, const std::vector<TensorToWrite>& tensors, const Metadata& metadata) {
  SafetensorsWriter writer(file, tensors, metadata);
  for (const TensorToWrite& tensor : tensors)
    writer.append(tensor.fetch ? tensor.fetch() : tensor.data,
                  static_cast<size_t>(num_elements(tensor.shape) * size_of(tensor.dtype)));
  writer.finish();
}

FileSummary write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                              const Metadata& metadata) {
  return write_file_atomically(path, [&](FileWriter& file) { write_safetensors(file, tensors, metadata); });
}

}  // namespace troupe
