// safetensors files: u64 little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, raw data
// (docs/formats/safetensors.md). Read memory-mapped; nothing is allocated before it was checked against the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "io/tensor_view.h"
#include "tensor/tensor.h"

namespace troupe {

using Metadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  // Throws kData naming the file and, where there is one, the tensor: header longer than the file, broken JSON, unknown
  // dtype, offsets outside the data, of the wrong length, overlapping or leaving a gap, a name twice.
  explicit SafetensorsFile(const std::filesystem::path& path);
  // The same from memory that outlives the object; `where` opens every message.
  SafetensorsFile(std::span<const uint8_t> bytes, std::string where);

  const std::vector<TensorView>& tensors() const { return tensors_; }  // in the order of their data
  const Metadata& metadata() const { return metadata_; }
  const std::string& where() const { return where_; }

  const TensorView* find(const std::string& name) const;  // nullptr if absent
  const TensorView& at(const std::string& name) const;    // throws kData with the nearest name
  // Throws kData unless the tensor exists with this dtype (if given) and shape.
  const TensorView& at(const std::string& name, const Shape& shape, std::optional<DType> dtype = std::nullopt) const;

  // Values as float32, from F64, F32, F16 or BF16; throws kData if absent or of another shape.
  void read_f32(const std::string& name, const Shape& shape, std::span<float> out) const;
  Tensor read_f32(const std::string& name) const;
  Tensor read(const std::string& name) const;  // as stored, copied to aligned memory

 private:
  void parse(std::span<const uint8_t> bytes);

  std::string where_;
  MappedFile file_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
  Metadata metadata_;
};

// What a file will hold. `data` may be null when the bytes are appended later (SafetensorsWriter), or are not the
// host's: `fetch` then says where they are, until it is called for another tensor.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;
  std::function<const void*()> fetch = nullptr;
};

// Writes header and data to a FileWriter in the order of the list; for tensors that do not fit in memory together.
class SafetensorsWriter {
 public:
  // Writes the header. Throws kInternal for a name twice.
  SafetensorsWriter(FileWriter& file, const std::vector<TensorToWrite>& tensors, const Metadata& metadata = {});
  void append(const void* data, size_t size);  // the bytes of all tensors one after the other, in pieces of any size
  void finish();                               // throws kInternal unless exactly the announced bytes came

 private:
  FileWriter& file_;
  uint64_t left_ = 0;
};

// The same in one call, for tensors whose `data` is set; to a path it is atomic.
void write_safetensors(FileWriter& file, const std::vector<TensorToWrite>& tensors, const Metadata& metadata = {});
FileSummary write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                              const Metadata& metadata = {});

}  // namespace troupe
