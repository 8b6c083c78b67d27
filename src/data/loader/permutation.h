// A keyed random permutation of [0, n) that is computed, not stored: a Feistel network over Philox on the smallest even
// number of bits that holds n, walked until it lands inside [0, n) (cycle walking; Black and Rogaway 2002), which takes
// fewer than four walks on average. O(1) memory, so an epoch of any corpus can be entered anywhere.
#pragma once

#include <bit>
#include <cstdint>

#include "base/rng.h"

namespace troupe {

class Permutation {
 public:
  Permutation(uint64_t key, uint64_t n) : key_(key), n_(n) {
    const int bits = n > 1 ? static_cast<int>(std::bit_width(n - 1)) : 1;
    half_bits_ = (bits + 1) / 2;
    mask_ = (uint64_t{1} << half_bits_) - 1;
  }

  // The image of i < n; every value below n is the image of exactly one i.
  uint64_t operator()(uint64_t i) const {
    if (n_ <= 1) return i;
    do i = encrypt(i);
    while (i >= n_);
    return i;
  }

 private:
  uint64_t encrypt(uint64_t x) const {
    uint64_t left = x >> half_bits_, right = x & mask_;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (philox(key_, right, round)[0] & mask_);
      left = right;
      right = next;
    }
    return (left << half_bits_) | right;
  }

  static constexpr uint64_t kRounds = 6;
  uint64_t key_, n_, mask_ = 0;
  int half_bits_ = 1;
};

}  // namespace troupe
