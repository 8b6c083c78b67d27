// A trie over bytes: which of many keys a text begins with.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/tokenizer/pair_table.h"

namespace troupe {

class ByteTrie {
 public:
  static constexpr int32_t kRoot = 0, kNone = -1;

  // value >= 0; that of a key which is there already is replaced.
  void add(std::string_view key, int32_t value) {
    int32_t node = kRoot;
    for (const char byte : key) {
      const auto next = static_cast<int32_t>(values_.size());
      const int32_t there = edges_.insert(node, static_cast<uint8_t>(byte), next);
      if (there == next) values_.push_back(kNone);
      node = there;
    }
    values_[static_cast<size_t>(node)] = value;
  }

  // The node behind `node` by one byte, kNone if no key goes on so.
  int32_t step(int32_t node, char byte) const {
    const int32_t* const next = edges_.find(node, static_cast<uint8_t>(byte));
    return next ? *next : kNone;
  }
  // Of the key that ends at the node, kNone if none does.
  int32_t value(int32_t node) const { return values_[static_cast<size_t>(node)]; }
  bool empty() const { return values_.size() == 1; }

 private:
  std::vector<int32_t> values_ = {kNone};  // by node
  PairTable<int32_t> edges_;               // by node and byte
};

}  // namespace troupe
