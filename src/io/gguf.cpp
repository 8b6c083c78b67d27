#include "io/gguf.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/utf8.h"

namespace troupe {
namespace {

using Type = GgufValue::Type;

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kVersion = 3, kOldestVersion = 2;
constexpr uint64_t kDefaultAlignment = 32, kMaxAlignment = 1 << 20, kMaxDimensions = 4;
constexpr const char* kAlignmentKey = "general.alignment";

size_t bytes_of(Type type) {
  switch (type) {
    case Type::kU8:
    case Type::kI8:
    case Type::kBool:
      return 1;
    case Type::kU16:
    case Type::kI16:
      return 2;
    case Type::kU32:
    case Type::kI32:
    case Type::kF32:
      return 4;
    case Type::kU64:
    case Type::kI64:
    case Type::kF64:
    case Type::kString:  // at least its length
      return 8;
    case Type::kArray:
      break;
  }
  return 0;
}

// Reads little-endian values one after the other; whatever leads beyond the end is an error that says where.
class GgufCursor {
 public:
  GgufCursor(std::span<const uint8_t> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

  [[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& got) const {
    fail(ErrorCode::kData, "{}: {}: expected {}, got {} (byte {})", where_, what, expected, got, at_);
  }

  template <class T>
  T number(const std::string& what) {
    if (left() < sizeof(T)) refuse(what, fmt::format("{} bytes", sizeof(T)), fmt::format("{} up to the end", left()));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  // A count of items of at least `each` bytes, which must be there.
  uint64_t count(const std::string& what, uint64_t each) {
    const auto value = number<uint64_t>(what);
    if (value > left() / each)
      refuse(what, fmt::format("a number of at most {} (the file's size)", left() / each), std::to_string(value));
    return value;
  }

  std::string string(const std::string& what) {
    const uint64_t size = count(what, 1);
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return text;
  }

  std::string name(const std::string& what) {
    std::string text = string(what);
    if (text.empty() || find_invalid_utf8(text)) refuse(what, "a name in UTF-8", "\"" + visible_text(text) + "\"");
    return text;
  }

  Type type(const std::string& what) {
    const auto value = number<uint32_t>(what);
    if (value > static_cast<uint32_t>(Type::kF64)) refuse(what, "a type from 0 to 12", std::to_string(value));
    return static_cast<Type>(value);
  }

  GgufValue value(const std::string& key) {
    const Type kind = type(key);
    if (kind != Type::kArray) return scalar(kind, key);
    const Type item = type(key);
    if (item == Type::kArray) refuse(key, "an array of numbers or strings", "one of arrays");
    const uint64_t items = count(key, bytes_of(item));
    if (item == Type::kString) {
      std::vector<std::string> texts;
      texts.reserve(items);
      for (uint64_t i = 0; i < items; ++i) texts.push_back(string(fmt::format("{}[{}]", key, i)));
      return {item, std::move(texts)};
    }
    std::vector<double> numbers;
    numbers.reserve(items);
    for (uint64_t i = 0; i < items; ++i)
      numbers.push_back(std::visit(
          [](const auto& number) {
            if constexpr (std::is_arithmetic_v<std::decay_t<decltype(number)>>) return static_cast<double>(number);
            return 0.0;
          },
          scalar(item, key).value));
    return {item, std::move(numbers)};
  }

 private:
  GgufValue scalar(Type type, const std::string& key) {
    const auto natural = [&](auto value) { return GgufValue{type, static_cast<uint64_t>(value)}; };
    const auto integer = [&](auto value) { return GgufValue{type, static_cast<int64_t>(value)}; };
    switch (type) {
      case Type::kU8:
        return natural(number<uint8_t>(key));
      case Type::kU16:
        return natural(number<uint16_t>(key));
      case Type::kU32:
        return natural(number<uint32_t>(key));
      case Type::kU64:
        return natural(number<uint64_t>(key));
      case Type::kI8:
        return integer(number<int8_t>(key));
      case Type::kI16:
        return integer(number<int16_t>(key));
      case Type::kI32:
        return integer(number<int32_t>(key));
      case Type::kI64:
        return integer(number<int64_t>(key));
      case Type::kF32:
        return {type, static_cast<double>(number<float>(key))};
      case Type::kF64:
        return {type, number<double>(key)};
      case Type::kBool: {
        const auto flag = number<uint8_t>(key);
        if (flag > 1) refuse(key, "false or true (0 or 1)", std::to_string(flag));
        return {type, flag == 1};
      }
      case Type::kString:
      case Type::kArray:
        break;
    }
    return {type, string(key)};
  }

  std::span<const uint8_t> bytes_;
  const std::string& where_;
  uint64_t at_ = 0;
};

// Name, dimensions, type and offset of a tensor; `bytes` is empty as yet.
std::pair<GgufTensor, uint64_t> read_tensor(GgufCursor& cursor, uint64_t index) {
  GgufTensor tensor{.name = cursor.name(fmt::format("tensor {}", index))};
  const std::string& name = tensor.name;
  const auto dimensions = cursor.number<uint32_t>(name);
  if (dimensions > kMaxDimensions) cursor.refuse(name, "at most 4 dimensions", std::to_string(dimensions));
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = cursor.number<uint64_t>(name);
    if (size > static_cast<uint64_t>(INT64_MAX)) cursor.refuse(name, "dimensions up to 2^63 - 1", std::to_string(size));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = cursor.number<uint32_t>(name);
  if (!ggml_format(type)) cursor.refuse(name, std::string(ggml_names()), fmt::format("type {}", type));
  tensor.type = static_cast<GgmlType>(type);
  return {std::move(tensor), cursor.number<uint64_t>(name)};
}

// The bytes that the values take; throws kData for rows that are not whole blocks or sizes beyond any file.
uint64_t data_bytes(const GgufTensor& tensor, const std::string& where) {
  const GgmlFormat& format = ggml_format(tensor.type);
  int64_t count = 0, bytes = 0;
  try {
    count = num_elements(tensor.shape);
  } catch (const Error& error) {
    fail(ErrorCode::kData, "{}: {}: {}", where, tensor.name, error.what());
  }
  if ((tensor.shape.empty() ? 1 : tensor.shape.back()) % format.block_values != 0)
    fail(ErrorCode::kData, "{}: {}: expected rows of a multiple of {} values ({}), got {}", where, tensor.name,
         format.block_values, format.name, to_string(tensor.shape));
  if (__builtin_mul_overflow(count / format.block_values, format.block_bytes, &bytes))
    fail(ErrorCode::kData, "{}: {}: expected a size that a file can have, got {}", where, tensor.name,
         to_string(tensor.shape));
  return static_cast<uint64_t>(bytes);
}

uint64_t aligned(uint64_t bytes, uint64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path) : where_(path.string()), file_(path) { parse(file_.bytes()); }

GgufFile::GgufFile(std::span<const uint8_t> bytes, std::string where) : where_(std::move(where)) { parse(bytes); }

void GgufFile::parse(std::span<const uint8_t> bytes) {
  GgufCursor cursor(bytes, where_);
  const std::string_view magic(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 4));
  if (magic != kMagic)
    fail(ErrorCode::kData, "{}: expected a GGUF file, got one that does not begin with GGUF", where_);
  cursor.number<uint32_t>("magic");
  const auto version = cursor.number<uint32_t>("version");
  if (version < kOldestVersion || version > kVersion)
    cursor.refuse("version", "2 or 3", fmt::format("{}{}", version, version >> 16 ? " (big-endian?)" : ""));
  const uint64_t num_tensors = cursor.count("number of tensors", 24), num_keys = cursor.count("number of keys", 13);

  for (uint64_t i = 0; i < num_keys; ++i) {
    std::string key = cursor.name(fmt::format("key {}", i));
    if (!keys_.emplace(key, i).second) cursor.refuse(key, "each key once", "it twice");
    GgufValue value = cursor.value(key);
    metadata_.emplace_back(std::move(key), std::move(value));
  }
  if (const int64_t parts = integer("split.count", 1); parts > 1)
    fail(ErrorCode::kData, "{}: split.count: expected a model in one file, got one of {} (join them first)", where_,
         parts);
  const auto alignment = static_cast<uint64_t>(integer(kAlignmentKey, kDefaultAlignment));
  if (alignment == 0 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0)
    fail(ErrorCode::kData, "{}: {}: expected a power of two up to {}, got {}", where_, kAlignmentKey, kMaxAlignment,
         alignment);

  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    auto [tensor, offset] = read_tensor(cursor, i);
    if (!names_.emplace(tensor.name, i).second) cursor.refuse(tensor.name, "each tensor once", "it twice");
    if (offset % alignment != 0)
      cursor.refuse(tensor.name, fmt::format("an offset that is a multiple of {}", alignment), std::to_string(offset));
    tensors_.push_back(std::move(tensor));
    offsets.push_back(offset);
  }

  const uint64_t data = std::min<uint64_t>(aligned(cursor.at(), alignment), bytes.size());
  const uint64_t room = bytes.size() - data;
  std::vector<std::pair<uint64_t, size_t>> order;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const uint64_t size = data_bytes(tensors_[i], where_);
    if (size > room || offsets[i] > room - size)
      fail(ErrorCode::kData, "{}: {}: expected its {} bytes at offset {} within {} bytes of data (truncated file?)",
           where_, tensors_[i].name, size, offsets[i], room);
    tensors_[i].bytes = bytes.subspan(data + offsets[i], size);
    if (size > 0) order.emplace_back(offsets[i], i);
  }
  std::sort(order.begin(), order.end());
  for (size_t i = 1; i < order.size(); ++i)
    if (const GgufTensor& before = tensors_[order[i - 1].second];
        order[i - 1].first + before.bytes.size() > order[i].first)
      fail(ErrorCode::kData, "{}: {}: expected data of its own, got some that {} has too", where_,
           tensors_[order[i].second].name, before.name);
}

const GgufTensor* GgufFile::find_tensor(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &tensors_[found->second];
}

template <class T>
const T* GgufFile::find(const std::string& key, const char* expected) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  const T* value = std::get_if<T>(&metadata_[found->second].second.value);
  if (!value) fail(ErrorCode::kData, "{}: {}: expected {}, got another type", where_, key, expected);
  return value;
}

template <class T>
const T& GgufFile::at(const std::string& key, const char* expected) const {
  if (const T* value = find<T>(key, expected)) return *value;
  fail(ErrorCode::kData, "{}: {}: expected {}, got none", where_, key, expected);
}

const std::string& GgufFile::string(const std::string& key) const { return at<std::string>(key, "a string"); }
const std::vector<std::string>& GgufFile::strings(const std::string& key) const {
  return at<std::vector<std::string>>(key, "an array of strings");
}
const std::vector<double>& GgufFile::numbers(const std::string& key) const {
  return at<std::vector<double>>(key, "an array of numbers");
}

int64_t GgufFile::integer(const std::string& key) const {
  if (!has(key)) fail(ErrorCode::kData, "{}: {}: expected an integer, got none", where_, key);
  return integer(key, 0);
}

int64_t GgufFile::integer(const std::string& key, int64_t otherwise) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return otherwise;
  const auto& value = metadata_[found->second].second.value;
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value); number && *number <= static_cast<uint64_t>(INT64_MAX))
    return static_cast<int64_t>(*number);
  fail(ErrorCode::kData, "{}: {}: expected an integer below 2^63, got another value", where_, key);
}

std::string GgufFile::string(const std::string& key, std::string otherwise) const {
  const std::string* value = find<std::string>(key, "a string");
  return value ? *value : otherwise;
}
double GgufFile::number(const std::string& key, double otherwise) const {
  const double* value = find<double>(key, "a floating-point number");
  return value ? *value : otherwise;
}
bool GgufFile::boolean(const std::string& key, bool otherwise) const {
  const bool* value = find<bool>(key, "true or false");
  return value ? *value : otherwise;
}

namespace {

class GgufText {
 public:
  template <class T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void string(std::string_view text) {
    number(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  void scalar(Type type, double value) {
    switch (type) {
      case Type::kU8:
        return number(static_cast<uint8_t>(value));
      case Type::kI8:
        return number(static_cast<int8_t>(value));
      case Type::kU16:
        return number(static_cast<uint16_t>(value));
      case Type::kI16:
        return number(static_cast<int16_t>(value));
      case Type::kU32:
        return number(static_cast<uint32_t>(value));
      case Type::kI32:
        return number(static_cast<int32_t>(value));
      case Type::kF32:
        return number(static_cast<float>(value));
      case Type::kBool:
        return number(static_cast<uint8_t>(value != 0.0));
      case Type::kU64:
        return number(static_cast<uint64_t>(value));
      case Type::kI64:
        return number(static_cast<int64_t>(value));
      case Type::kF64:
        return number(value);
      case Type::kString:
      case Type::kArray:
        break;
    }
  }
  void value(const GgufValue& of) {
    const auto type = static_cast<uint32_t>(of.type);
    if (const auto* texts = std::get_if<std::vector<std::string>>(&of.value)) {
      number(static_cast<uint32_t>(Type::kArray)), number(type), number(static_cast<uint64_t>(texts->size()));
      for (const std::string& text : *texts) string(text);
    } else if (const auto* numbers = std::get_if<std::vector<double>>(&of.value)) {
      number(static_cast<uint32_t>(Type::kArray)), number(type), number(static_cast<uint64_t>(numbers->size()));
      for (const double one : *numbers) scalar(of.type, one);
    } else if (const auto* text = std::get_if<std::string>(&of.value)) {
      number(type), string(*text);
    } else {
      number(type);
      if (const auto* natural = std::get_if<uint64_t>(&of.value); natural && of.type == Type::kU64)
        return number(*natural);
      if (const auto* integer = std::get_if<int64_t>(&of.value); integer && of.type == Type::kI64)
        return number(*integer);
      if (const auto* flag = std::get_if<bool>(&of.value)) return scalar(of.type, *flag);
      if (const auto* natural = std::get_if<uint64_t>(&of.value)) return scalar(of.type, static_cast<double>(*natural));
      if (const auto* integer = std::get_if<int64_t>(&of.value)) return scalar(of.type, static_cast<double>(*integer));
      scalar(of.type, std::get<double>(of.value));
    }
  }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

uint64_t bytes_to_write(const GgufTensorToWrite& tensor) {
  const GgmlFormat& format = ggml_format(tensor.type);
  return static_cast<uint64_t>(num_elements(tensor.shape) / format.block_values * format.block_bytes);
}

}  // namespace

GgufWriter::GgufWriter(FileWriter& file, const GgufMetadata& metadata, std::vector<GgufTensorToWrite> tensors)
    : file_(file), tensors_(std::move(tensors)) {
  GgufText head;
  head.bytes() += kMagic;
  head.number(kVersion);
  head.number(static_cast<uint64_t>(tensors_.size()));
  head.number(static_cast<uint64_t>(metadata.size()));
  for (const auto& [key, value] : metadata) head.string(key), head.value(value);
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (const GgufTensorToWrite& tensor : tensors_) {
    const std::string where = file.path().string() + ": " + tensor.name;
    if (!names.insert(tensor.name).second) fail(ErrorCode::kInternal, "{}: expected each tensor once", where);
    if ((tensor.shape.empty() ? 1 : tensor.shape.back()) % ggml_format(tensor.type).block_values != 0)
      fail(ErrorCode::kInternal, "{}: expected rows of whole blocks, got {}", where, to_string(tensor.shape));
    head.string(tensor.name);
    head.number(static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i > 0; --i) head.number(static_cast<uint64_t>(tensor.shape[i - 1]));
    head.number(static_cast<uint32_t>(tensor.type));
    head.number(offset);
    offset = aligned(offset + bytes_to_write(tensor), kDefaultAlignment);
  }
  file_.write(head.bytes());
  pad(head.bytes().size());
}

void GgufWriter::pad(uint64_t bytes) {
  static constexpr char kZeros[kDefaultAlignment] = {};
  file_.write(kZeros, aligned(bytes, kDefaultAlignment) - bytes);
}

void GgufWriter::append(std::span<const float> values) {
  if (next_ == tensors_.size() || static_cast<int64_t>(values.size()) != num_elements(tensors_[next_].shape))
    fail(ErrorCode::kInternal, "{}: values that were not announced", file_.path().string());
  const GgufTensorToWrite& tensor = tensors_[next_++];
  std::vector<uint8_t> bytes(bytes_to_write(tensor));
  quantize(tensor.type, values, bytes);
  file_.write(bytes.data(), bytes.size());
  pad(bytes.size());
}

void GgufWriter::finish() {
  if (next_ != tensors_.size()) fail(ErrorCode::kInternal, "{}: tensors are missing", file_.path().string());
}

}  // namespace troupe
