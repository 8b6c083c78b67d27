// GGUF files (ggml, llama.cpp): magic, version, key-value metadata, a table of tensors, their data at aligned offsets
// (docs/formats/gguf.md). Read memory-mapped; nothing is allocated before it was checked against the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "io/atomic_file.h"
#include "io/ggml_types.h"
#include "io/mapped_file.h"
#include "tensor/shape.h"

namespace troupe {

// A value of the metadata. Integers of all widths are one alternative, as are float32 and float64.
struct GgufValue {
  // Stored values never change: they are in files.
  enum class Type : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };
  Type type = Type::kU32;  // of an array: that of its items
  // bool, integer, floating-point, string; arrays of strings, and of numbers (bool: 0 or 1).
  std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<std::string>, std::vector<double>> value;

  static GgufValue u32(int64_t number) { return {Type::kU32, static_cast<uint64_t>(number)}; }
  static GgufValue f32(double number) { return {Type::kF32, number}; }
  static GgufValue boolean(bool flag) { return {Type::kBool, flag}; }
  static GgufValue string(std::string text) { return {Type::kString, std::move(text)}; }
  static GgufValue strings(std::vector<std::string> texts) { return {Type::kString, std::move(texts)}; }
  static GgufValue i32s(std::vector<double> numbers) { return {Type::kI32, std::move(numbers)}; }
};
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;  // in the order of the file

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  Shape shape;  // row-major as everywhere here; the file has the fastest dimension first
  std::span<const uint8_t> bytes;
};

class GgufFile {
 public:
  // Throws kData naming the file and, where there is one, the key or tensor: another version or byte order, what leads
  // beyond the end, a type that is not known, a name twice, data that overlap, a part of a model in several files.
  explicit GgufFile(const std::filesystem::path& path);
  GgufFile(std::span<const uint8_t> bytes, std::string where);  // memory that outlives the object

  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in the order of the file
  const std::string& where() const { return where_; }
  const GgufTensor* find_tensor(const std::string& name) const;  // nullptr if absent

  // Values by key. The first four throw kData if it is absent or of another type, the others give `otherwise` if
  // absent.
  const std::string& string(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  const std::vector<std::string>& strings(const std::string& key) const;
  const std::vector<double>& numbers(const std::string& key) const;
  std::string string(const std::string& key, std::string otherwise) const;
  int64_t integer(const std::string& key, int64_t otherwise) const;
  double number(const std::string& key, double otherwise) const;
  bool boolean(const std::string& key, bool otherwise) const;
  bool has(const std::string& key) const { return keys_.contains(key); }

 private:
  void parse(std::span<const uint8_t> bytes);
  template <class T>
  const T* find(const std::string& key, const char* expected) const;
  template <class T>
  const T& at(const std::string& key, const char* expected) const;

  std::string where_;
  MappedFile file_;
  GgufMetadata metadata_;
  std::unordered_map<std::string, size_t> keys_, names_;
  std::vector<GgufTensor> tensors_;
};

// What a file will hold.
struct GgufTensorToWrite {
  std::string name;
  GgmlType type = GgmlType::kF32;
  Shape shape;
};

// Writes metadata and table, then tensors one at a time, in the order of the list.
class GgufWriter {
 public:
  // Throws kInternal for a name twice or rows that are not whole blocks.
  GgufWriter(FileWriter& file, const GgufMetadata& metadata, std::vector<GgufTensorToWrite> tensors);
  void append(std::span<const float> values);  // all of the next tensor
  void finish();                               // throws kInternal unless all tensors came

 private:
  void pad(uint64_t bytes);

  FileWriter& file_;
  std::vector<GgufTensorToWrite> tensors_;
  size_t next_ = 0;
};

}  // namespace troupe
