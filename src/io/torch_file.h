// A torch checkpoint (.pt): its pickle as inert data and its tensors, lazily from the mapped file.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/pickle.h"
#include "io/tensor_view.h"
#include "io/torch_zip.h"
#include "tensor/buffer.h"

namespace troupe {

// A tensor in a storage: element (i, j, ...) is number offset + i * stride[0] + j * stride[1] + ... of it.
struct TorchTensor {
  std::string name = {};
  DType dtype = DType::kF32;
  Shape shape = {};
  std::vector<int64_t> stride = {};
  std::span<const uint8_t> bytes = {};  // from the tensor's first element to the end of its storage

  bool is_contiguous() const;
};

class TorchFile {
 public:
  explicit TorchFile(const std::filesystem::path& path);         // throws kData as TorchZip and Pickle do
  TorchFile(std::span<const uint8_t> bytes, std::string where);  // memory that outlives the object

  const Pickle& pickle() const { return pickle_; }
  const std::string& where() const { return zip_.where(); }

  // Describes a kTensor value. Throws kData naming it: unknown storage type, storage missing or of another size than
  // announced, elements outside the storage.
  TorchTensor tensor(const std::string& name, const PickleValue& value) const;
  // Its elements in row-major order: where they lie, or gathered in `room`, which must outlive the view.
  TensorView in_rows(const TorchTensor& tensor, Buffer<uint8_t>& room) const;
  // Converts to float32 in row-major order; `out` has num_elements(shape) elements. Throws kData for integers.
  void read_f32(const TorchTensor& tensor, std::span<float> out) const;

 private:
  TorchZip zip_;
  Pickle pickle_;
};

}  // namespace troupe
