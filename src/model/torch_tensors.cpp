#include "model/torch_tensors.h"

#include <algorithm>

#include "base/error.h"

namespace troupe {

TorchTensors::TorchTensors(const std::filesystem::path& path) : file_(path) {
  const Pickle& pickle = file_.pickle();
  if (pickle.root().kind != PickleValue::Kind::kDict)
    fail(ErrorCode::kData, "{}: expected a dictionary of tensors, got {}", file_.where(), name_of(pickle.root().kind));
  for (const auto& [name, value] : pickle.pairs(pickle.root())) {
    if (name->kind != PickleValue::Kind::kString)
      fail(ErrorCode::kData, "{}: expected names of tensors, got {}", file_.where(), name_of(name->kind));
    tensors_.push_back(file_.in_rows(file_.tensor(name->text, *value), gathered_.emplace_back()));
  }
}

bool TorchTensors::is_gathered(std::span<const uint8_t> bytes) const {
  return std::any_of(gathered_.begin(), gathered_.end(), [&](const Buffer<uint8_t>& room) {
    return bytes.data() >= room.begin() && bytes.data() < room.end();
  });
}

}  // namespace troupe
