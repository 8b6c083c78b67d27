// Dropout factors for a vector of elements: the mask of kernels/dropout.h, element by element. Include only from
// cpu/*.cpp.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cpu/vec_math.h"
#include "kernels/dropout.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

typedef uint64_t VecWide __attribute__((vector_size(kWidth * 4)));  // half as many lanes

// Products of the low halves of the lanes; what the upper halves hold does not matter.
TROUPE_INLINE VecWide multiply_low(VecWide a, uint32_t b) {
#if TROUPE_ISA_LEVEL >= 2
  return std::bit_cast<VecWide>(_mm512_mul_epu32(std::bit_cast<__m512i>(a), _mm512_set1_epi64(b)));
#elif TROUPE_ISA_LEVEL == 1
  return std::bit_cast<VecWide>(_mm256_mul_epu32(std::bit_cast<__m256i>(a), _mm256_set1_epi64x(b)));
#else
  return (a & 0xFFFFFFFFu) * uint64_t{b};
#endif
}

struct PhiloxWords {
  VecUint word[4];
};

// philox(key, counter)[0..3] for the counter of each lane, given by its low and high 32 bits.
TROUPE_INLINE PhiloxWords philox_vec(uint64_t key, VecUint low, VecUint high) {
  // Even and odd lanes apart, each value in the low half of a wide lane; upper halves hold rubbish.
  VecWide x0[2], x1[2], x2[2] = {VecWide{}, VecWide{}}, x3[2] = {VecWide{}, VecWide{}};
  x0[0] = std::bit_cast<VecWide>(low), x0[1] = x0[0] >> 32;
  x1[0] = std::bit_cast<VecWide>(high), x1[1] = x1[0] >> 32;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int odd = 0; odd < 2; ++odd) {
      const VecWide p0 = multiply_low(x0[odd], 0xD2511F53u), p1 = multiply_low(x2[odd], 0xCD9E8D57u);
      x0[odd] = (p1 >> 32) ^ x1[odd] ^ uint64_t { k0 };
      x2[odd] = (p0 >> 32) ^ x3[odd] ^ uint64_t { k1 };
      x1[odd] = p1;
      x3[odd] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const auto join = [](const VecWide* x) { return std::bit_cast<VecUint>((x[0] & 0xFFFFFFFFu) | (x[1] << 32)); };
  return {{join(x0), join(x1), join(x2), join(x3)}};
}

// The factor 0 or multiplier / (1 - p) of a random word.
class DropoutFactor {
 public:
  explicit DropoutFactor(const Dropout& dropout) : kept_(dropout.multiplier / (1.0f - dropout.probability)) {
    // (word >> 8) * 2^-24 < p, as integers: word >> 8 < ceil(p 2^24)
    const double scaled = static_cast<double>(dropout.probability) * 0x1.0p24;
    const uint32_t whole = static_cast<uint32_t>(scaled);
    threshold_ = whole + (static_cast<double>(whole) < scaled ? 1u : 0u);
  }
  TROUPE_INLINE Vec operator()(VecUint word) const {
    return (word >> 8) < VecUint{} + threshold_ ? Vec{} : broadcast(kept_);
  }

 private:
  uint32_t threshold_;
  float kept_;
};

template <int... I>
TROUPE_INLINE VecUint interleave_low(VecUint a, VecUint b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (I / 2 + I % 2 * kWidth)...);
}
template <int... I>
TROUPE_INLINE VecUint interleave_high(VecUint a, VecUint b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (kWidth / 2 + I / 2 + I % 2 * kWidth)...);
}

// Factors of `count` consecutive elements of a mask into out[0 .. count).
constexpr int64_t kDropoutStep = 4 * kWidth;
inline void dropout_factors(const Dropout& dropout, uint64_t first, int64_t count, float* out) {
  const DropoutFactor factor(dropout);
  constexpr auto kLanes = std::make_integer_sequence<int, kWidth>{};
  const uint64_t skipped = first & 3;  // elements of the first counter that come before `first`
  const int64_t step = skipped ? kDropoutStep - 4 : kDropoutStep;
  for (int64_t done = 0; done < count; done += step) {
    const uint64_t counter = (first - skipped + static_cast<uint64_t>(done)) >> 2;
    VecUint low =
        std::bit_cast<VecUint>(__builtin_convertvector(lane_numbers(), VecInt)) + static_cast<uint32_t>(counter);
    VecUint high = VecUint{} + static_cast<uint32_t>(counter >> 32);
    high = low < VecUint{} + static_cast<uint32_t>(counter) ? high + 1u : high;
    const PhiloxWords w = philox_vec(dropout.key, low, high);
    // Lane l, word k becomes element 4 l + k.
    const VecUint even_low = interleave_low(w.word[0], w.word[2], kLanes);
    const VecUint odd_low = interleave_low(w.word[1], w.word[3], kLanes);
    const VecUint even_high = interleave_high(w.word[0], w.word[2], kLanes);
    const VecUint odd_high = interleave_high(w.word[1], w.word[3], kLanes);
    float block[kDropoutStep];
    store(block, factor(interleave_low(even_low, odd_low, kLanes)));
    store(block + kWidth, factor(interleave_high(even_low, odd_low, kLanes)));
    store(block + 2 * kWidth, factor(interleave_low(even_high, odd_high, kLanes)));
    store(block + 3 * kWidth, factor(interleave_high(even_high, odd_high, kLanes)));
    const int64_t used = count - done < step ? count - done : step;
    std::memcpy(out + done, block + skipped, static_cast<size_t>(used) * sizeof(float));
  }
}

// The number of element (row, col) of an output of `width` columns, as Dropout::scale counts.
TROUPE_INLINE uint64_t element_of(const Dropout& dropout, int64_t row, int64_t col, int64_t width) {
  return static_cast<uint64_t>((dropout.first_row + row) * width + col);
}

// body(i, n, factors) for the vectors of `count` elements from `first` on, as for_vectors.
template <class Body>
TROUPE_INLINE void for_dropped_vectors(const Dropout& dropout, uint64_t first, int64_t count, const Body& body) {
  if (dropout.probability <= 0.0f) {
    const Vec multiplier = broadcast(dropout.multiplier);
    for_vectors(
        count, [&](int64_t i, int64_t n) __attribute__((always_inline)) { body(i, n, multiplier); });
    return;
  }
  constexpr int64_t kPiece = 16 * kDropoutStep;
  float factors[kPiece];
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t size = count - begin < kPiece ? count - begin : kPiece;
    dropout_factors(dropout, first + static_cast<uint64_t>(begin), size, factors);
    for_vectors(
        size, [&](int64_t i, int64_t n) __attribute__((always_inline)) { body(begin + i, n, load_n(factors + i, n)); });
  }
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
