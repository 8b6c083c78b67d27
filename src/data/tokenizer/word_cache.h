// Remembers the ids of short, frequent words. Direct-mapped: a new word replaces the old one of its slot, so memory is
// bounded and a lookup touches one half of a cache line. For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace troupe {

class WordCache {
 public:
  static constexpr size_t kMaxBytes = 15, kMaxIds = 3;

  struct Key {
    uint64_t low, high;  // the bytes, zero-padded; the last byte of `high` is their number
  };
  struct Slot {
    Key key;
    int32_t ids[kMaxIds];
    int32_t count;
  };

  WordCache() : slots_(size_t{1} << kBits) {}

  // 1 <= word.size() <= kMaxBytes. Reads 16 bytes from word.data() if they are before `end`.
  static Key key_of(std::string_view word, const char* end) {
    Key key = {0, 0};
    if (static_cast<size_t>(end - word.data()) >= 16) {
      std::memcpy(&key.low, word.data(), 8);
      std::memcpy(&key.high, word.data() + 8, 8);
      if (word.size() <= 8) {
        key.low &= ~uint64_t{0} >> (64 - 8 * word.size());
        key.high = 0;
      } else {
        key.high &= ~uint64_t{0} >> (128 - 8 * word.size());
      }
    } else {
      std::memcpy(&key.low, word.data(), word.size() < 8 ? word.size() : 8);
      if (word.size() > 8) std::memcpy(&key.high, word.data() + 8, word.size() - 8);
    }
    key.high |= static_cast<uint64_t>(word.size()) << 56;
    return key;
  }

  Slot& slot(const Key& key) {
    uint64_t mixed = key.low * 0x9E3779B97F4A7C15u ^ key.high * 0xC2B2AE3D27D4EB4Fu;
    mixed = (mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15u;
    return slots_[mixed >> (64 - kBits)];
  }
  static bool holds(const Slot& slot, const Key& key) { return slot.key.low == key.low && slot.key.high == key.high; }
  static void store(Slot& slot, const Key& key, std::span<const int32_t> ids) {
    slot.key = key;
    slot.count = static_cast<int32_t>(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) slot.ids[i] = ids[i];
  }

 private:
  static constexpr int kBits = 16;  // 2 MiB
  std::vector<Slot> slots_;
};

}  // namespace troupe
