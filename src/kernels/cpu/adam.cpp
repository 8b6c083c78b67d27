#include "kernels/cpu/adam.h"

#include "kernels/cpu/vec_math.h"
#include "kernels/cpu/vec_philox.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const AdamKernelTable adam_kernels;

namespace {

TROUPE_INLINE Vec square_root(Vec v) {
#if TROUPE_ISA_LEVEL >= 2
  return std::bit_cast<Vec>(_mm512_sqrt_ps(std::bit_cast<__m512>(v)));
#elif TROUPE_ISA_LEVEL == 1
  return std::bit_cast<Vec>(_mm256_sqrt_ps(std::bit_cast<__m256>(v)));
#else
  for (int i = 0; i < kWidth; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

struct Element {
  Vec p, m, v;
};
TROUPE_INLINE Element updated(const AdamCoefficients& c, Vec g, Vec p, Vec m, Vec v) {
  m = m * c.beta1 + g * c.rest1;
  v = v * c.beta2 + (g * g) * c.rest2;
  return {p * c.decay - (m * c.rate) / (square_root(v) + c.epsilon), m, v};
}

// Memory bounds it, so nothing may stand between the loads: the loop is inlined and its constants are in registers.
void update(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, float* m, float* v) {
  const AdamCoefficients c = coefficients;
  for_vectors(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Element e = updated(c, load_n(g + i, n), load_n(p + i, n), load_n(m + i, n), load_n(v + i, n));
        store_n(m + i, e.m, n);
        store_n(v + i, e.v, n);
        store_n(p + i, e.p, n);
      });
}

// round_by_chance() of kernels/chance.h, of `n` values.
TROUPE_INLINE void store_by_chance(bf16* to, Vec value, VecUint chance, int64_t n) {
  const VecUint word = bits_of(value);
  const VecUint as_ever = __builtin_convertvector(round_to_bf16(value), VecUint);
  const VecUint half = (word & 0x7F800000u) == VecUint{} + 0x7F800000u ? as_ever : (word + chance) >> 16;
  const VecHalf rounded = __builtin_convertvector(half, VecHalf);
  if (n == kWidth)
    std::memcpy(static_cast<void*>(to), &rounded, sizeof rounded);
  else
    std::memcpy(static_cast<void*>(to), &rounded, static_cast<size_t>(n) * sizeof(bf16));
}

void update_bf16(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, bf16* m, bf16* v,
                 uint64_t key, uint64_t first) {
  const AdamCoefficients c = coefficients;
  constexpr int64_t kPiece = 16 * kPhiloxStep;
  const auto skipped = static_cast<int64_t>(first & 3);  // words of the first counter that come before `first`
  uint32_t words[kPiece + kPhiloxStep];
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t size = count - begin < kPiece ? count - begin : kPiece;
    const uint64_t counter = (first + static_cast<uint64_t>(begin)) >> 2;
    for (int64_t i = 0; i < skipped + size; i += kPhiloxStep) {
      for (int64_t at = begin + i; at < begin + i + kPhiloxStep; at += 16) {  // 16 floats are a line
        __builtin_prefetch(g + at), __builtin_prefetch(p + at, 1);
        if (at % 32 == 0) __builtin_prefetch(m + at, 1), __builtin_prefetch(v + at, 1);
      }
      const PhiloxWords w = philox_words(key, counter + static_cast<uint64_t>(i / 4));
      std::memcpy(words + i, &w, sizeof w);
    }
    for_vectors(
        size, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const int64_t at = begin + i;
          const Element e = updated(c, load_n(g + at, n), load_n(p + at, n), load_n(m + at, n), load_n(v + at, n));
          VecUint word;
          std::memcpy(&word, words + skipped + i, sizeof word);
          store_by_chance(m + at, e.m, word & 0xFFFFu, n);
          store_by_chance(v + at, e.v, word >> 16, n);
          store_n(p + at, e.p, n);
        });
  }
}

// Elements ahead, in a stream that the hardware foresees too late.
constexpr int64_t kAhead = 512;

double sum_of_squares(const float* values, int64_t count) {
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    __builtin_prefetch(values + i + kAhead, 0, 2);
    for (int lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) lanes[0] += static_cast<double>(values[i]) * values[i];
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// The exponent bits of infinities and NaN are all ones.
bool all_finite(const float* values, int64_t count) {
  VecInt any = VecInt{};
  for_vectors(count, [&](int64_t i, int64_t n) {
    __builtin_prefetch(values + i + kAhead, 0, 2);
    any |= (bits_of(load_n(values + i, n)) & 0x7F800000u) == VecUint{} + 0x7F800000u;
  });
  int32_t found = 0;
  for (int lane = 0; lane < kWidth; ++lane) found |= any[lane];
  return found == 0;
}

}  // namespace

const AdamKernelTable adam_kernels = {update, update_bf16, sum_of_squares, all_finite};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
