// Keys and values of one sequence's past, per layer, as the attention op reads them: [length, D] rows in the operand
// type. Grows by doubling up to what is appended; several sequences may read one cache as their common prefix.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/elementwise.h"
#include "tensor/buffer.h"
#include "tensor/matrix.h"
#include "troupe/config.h"

namespace troupe {

template <class P>
class KvCache {
 public:
  using operand = typename P::operand;

  explicit KvCache(const ModelConfig& config)
      : width_(config.d_model), keys_(static_cast<size_t>(config.num_layers)), values_(keys_.size()) {}

  int64_t length() const { return length_; }
  Matrix<const operand> keys(int64_t layer, int64_t rows) const { return {keys_[layer].data(), rows, width_}; }
  Matrix<const operand> values(int64_t layer, int64_t rows) const { return {values_[layer].data(), rows, width_}; }

  // Room for `count` more positions; rows of layer `layer` at length() .. length() + count - 1 are then written by
  // append() and counted by advance(), once all layers are.
  void reserve(int64_t count) {
    if (length_ + count <= capacity_) return;
    capacity_ = std::max<int64_t>({64, 2 * capacity_, length_ + count});
    for (auto* side : {&keys_, &values_})
      for (Buffer<operand>& buffer : *side) {
        Buffer<operand> larger(capacity_ * width_);
        run(Copy<operand>{{buffer.data(), length_, width_}, {larger.data(), length_, width_}});
        buffer = std::move(larger);
      }
  }
  void append(int64_t layer, int64_t index, const operand* key, const operand* value) {
    const int64_t at = (length_ + index) * width_;
    run(Copy<operand>{{key, 1, width_}, {keys_[layer].data() + at, 1, width_}});
    run(Copy<operand>{{value, 1, width_}, {values_[layer].data() + at, 1, width_}});
  }
  void advance(int64_t count) { length_ += count; }
  void truncate(int64_t length) { length_ = std::min(length_, length); }

 private:
  int64_t width_, length_ = 0, capacity_ = 0;
  std::vector<Buffer<operand>> keys_, values_;
};

}  // namespace troupe
