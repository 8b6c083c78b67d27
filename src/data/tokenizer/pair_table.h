// A hash table from pairs of token ids to small values: open addressing, at most half full, never shrinks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace troupe {

template <class Value>
class PairTable {
 public:
  explicit PairTable(size_t expected = 16) { allocate(expected); }

  // Null if absent. Ids must not be negative.
  const Value* find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t i = home(key);; i = (i + 1) & mask_) {
      if (entries_[i].key == key) return &entries_[i].value;
      if (entries_[i].key == kEmpty) return nullptr;
    }
  }

  // The value of the pair, `initial` if it is new. Valid until the next insertion.
  Value& insert(int32_t left, int32_t right, const Value& initial) {
    if (2 * (size_ + 1) > entries_.size()) grow();
    const uint64_t key = key_of(left, right);
    size_t i = home(key);
    while (entries_[i].key != key && entries_[i].key != kEmpty) i = (i + 1) & mask_;
    if (entries_[i].key == kEmpty) {
      entries_[i] = {key, initial};
      ++size_;
    }
    return entries_[i].value;
  }

  size_t size() const { return size_; }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Entry {
    uint64_t key = kEmpty;
    Value value{};
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t home(uint64_t key) const { return ((key ^ key >> 29) * 0x9E3779B97F4A7C15u) >> shift_; }

  void allocate(size_t expected) {
    int bits = 4;
    while ((size_t{1} << bits) < 2 * expected) ++bits;
    entries_.assign(size_t{1} << bits, Entry{});
    mask_ = entries_.size() - 1;
    shift_ = 64 - bits;
    size_ = 0;
  }
  void grow() {
    std::vector<Entry> old = std::move(entries_);
    allocate(old.size());
    for (const Entry& entry : old)
      if (entry.key != kEmpty)
        insert(static_cast<int32_t>(entry.key >> 32), static_cast<int32_t>(entry.key & 0xFFFFFFFF), entry.value);
  }

  std::vector<Entry> entries_;
  size_t mask_ = 0, size_ = 0;
  int shift_ = 0;
};

}  // namespace troupe
