// The tensors of a model's file as torch.save() writes it (pytorch_model.bin): a dictionary of names and tensors, read
// as inert data (io/pickle.h).
#pragma once

#include <deque>
#include <filesystem>
#include <vector>

#include "io/tensor_view.h"
#include "io/torch_file.h"

namespace troupe {

class TorchTensors {
 public:
  // Throws kData naming the file, and the entry that is not a tensor, as TorchFile does.
  explicit TorchTensors(const std::filesystem::path& path);

  const std::vector<TensorView>& tensors() const { return tensors_; }  // in the order of the dictionary
  bool is_gathered(std::span<const uint8_t> bytes) const;  // not in the mapped file

 private:
  TorchFile file_;
  std::deque<Buffer<uint8_t>> gathered_;  // of tensors that do not lie row by row
  std::vector<TensorView> tensors_;
};

}  // namespace troupe
