// Random words for vectors of elements: base/rng.h's philox, four elements a counter. Include only from cpu/*.cpp.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cpu/vec_math.h"

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

// word[k], lane l: philox(key, counter)[k] for the counter of the lane, given by its low and high 32 bits.
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

template <int... I>
TROUPE_INLINE VecUint interleave_low(VecUint a, VecUint b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (I / 2 + I % 2 * kWidth)...);
}
template <int... I>
TROUPE_INLINE VecUint interleave_high(VecUint a, VecUint b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (kWidth / 2 + I / 2 + I % 2 * kWidth)...);
}

// word[k], lane l: the word of element k * kWidth + l of those whose first one is philox(key, counter)[0].
constexpr int64_t kPhiloxStep = 4 * kWidth;
TROUPE_INLINE PhiloxWords philox_words(uint64_t key, uint64_t counter) {
  constexpr auto kLanes = std::make_integer_sequence<int, kWidth>{};
  const VecUint low =
      std::bit_cast<VecUint>(__builtin_convertvector(lane_numbers(), VecInt)) + static_cast<uint32_t>(counter);
  VecUint high = VecUint{} + static_cast<uint32_t>(counter >> 32);
  high = low < VecUint{} + static_cast<uint32_t>(counter) ? high + 1u : high;
  const PhiloxWords w = philox_vec(key, low, high);
  // Lane l, word k becomes element 4 l + k.
  const VecUint even_low = interleave_low(w.word[0], w.word[2], kLanes);
  const VecUint odd_low = interleave_low(w.word[1], w.word[3], kLanes);
  const VecUint even_high = interleave_high(w.word[0], w.word[2], kLanes);
  const VecUint odd_high = interleave_high(w.word[1], w.word[3], kLanes);
  return {{interleave_low(even_low, odd_low, kLanes), interleave_high(even_low, odd_low, kLanes),
           interleave_low(even_high, odd_high, kLanes), interleave_high(even_high, odd_high, kLanes)}};
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
