// A vector of float32 as wide as the instruction set allows, and exp, normal_cdf, tanh and log on it. Include only from
// cpu/*.cpp: everything lives in the level's namespace. Written with the compiler's vector extensions, intrinsics where
// those fall short; a * b + c contracts to one fma where the level has it.
//
// Largest errors found over float32 (tests/parity/kernels/functions_test.cpp asserts the bounds): exp 1.1, tanh
// 1.7, log 0.9 units in the last place. Results below the smallest normal number are flushed to zero. NaN gives
// NaN. Polynomials are minimax fits (Remez) on the reduced ranges given beside them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if TROUPE_ISA_LEVEL >= 1
#include <immintrin.h>
#endif

#include "tensor/bf16.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

#if TROUPE_ISA_LEVEL >= 2
constexpr int kWidth = 16;
#elif TROUPE_ISA_LEVEL == 1
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef int32_t VecInt __attribute__((vector_size(kWidth * 4)));
typedef uint32_t VecUint __attribute__((vector_size(kWidth * 4)));
typedef uint16_t VecHalf __attribute__((vector_size(kWidth * 2)));

#define TROUPE_INLINE [[gnu::always_inline]] inline

// Memory. The partial forms touch `count` < kWidth elements only; lanes past them are zero.
TROUPE_INLINE Vec broadcast(float x) { return x - Vec{}; }
TROUPE_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
TROUPE_INLINE void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
TROUPE_INLINE Vec to_vec(VecUint bits) { return std::bit_cast<Vec>(bits); }
TROUPE_INLINE VecUint bits_of(Vec v) { return std::bit_cast<VecUint>(v); }
TROUPE_INLINE Vec load(const bf16* p) {
  VecHalf half;
  std::memcpy(&half, p, sizeof half);
  return to_vec(__builtin_convertvector(half, VecUint) << 16);
}

#if TROUPE_ISA_LEVEL >= 2
// Floats rounded to bf16 in the upper halves of the lanes, subnormal ones too, which AVX512-BF16 makes zero.
TROUPE_INLINE __m512i round_upper_halves(__m512i word) {
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(word, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(word, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  const __mmask16 nan = _mm512_cmp_ps_mask(_mm512_castsi512_ps(word), _mm512_castsi512_ps(word), _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(rounded, nan, word, _mm512_set1_epi32(0x400000));
}
#endif

// Rounds to nearest, ties to even; NaN stays NaN (as bf16's constructor). AVX512-BF16 makes subnormal numbers zero.
TROUPE_INLINE VecHalf round_to_bf16(Vec v) {
#if TROUPE_ISA_LEVEL >= 3
  return std::bit_cast<VecHalf>(_mm512_cvtneps_pbh(std::bit_cast<__m512>(v)));
#elif TROUPE_ISA_LEVEL == 2
  const __m512i rounded = round_upper_halves(std::bit_cast<__m512i>(v));
  return std::bit_cast<VecHalf>(_mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
#else
  const VecUint word = bits_of(v);
  const VecUint rounded = word + 0x7FFFu + ((word >> 16) & 1u);
  const VecInt nan = v != v;
  return __builtin_convertvector((nan ? word | 0x400000u : rounded) >> 16, VecHalf);
#endif
}
TROUPE_INLINE void store(bf16* p, Vec v) {
  const VecHalf half = round_to_bf16(v);
  std::memcpy(static_cast<void*>(p), &half, sizeof half);
}
template <class T>
TROUPE_INLINE Vec load_partial(const T* p, int64_t count) {
#if TROUPE_ISA_LEVEL >= 2
  const __mmask16 mask = static_cast<__mmask16>((1u << count) - 1u);
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<Vec>(_mm512_maskz_loadu_ps(mask, p));
  else
    return to_vec(std::bit_cast<VecUint>(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p))) << 16);
#else
  T copy[kWidth];
  std::memset(static_cast<void*>(copy), 0, sizeof copy);
  for (int64_t i = 0; i < count; ++i) copy[i] = p[i];
  return load(copy);
#endif
}
template <class T>
TROUPE_INLINE void store_partial(T* p, Vec v, int64_t count) {
#if TROUPE_ISA_LEVEL >= 2
  const __mmask16 mask = static_cast<__mmask16>((1u << count) - 1u);
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, mask, std::bit_cast<__m512>(v));
  else
    _mm256_mask_storeu_epi16(p, mask, std::bit_cast<__m256i>(round_to_bf16(v)));
#else
  T copy[kWidth];
  store(copy, v);
  for (int64_t i = 0; i < count; ++i) p[i] = copy[i];
#endif
}

// body(index, count) for every vector of a row of n elements; count is kWidth but for the last. load_n and store_n take
// that count. Compilers make two loops of it.
template <class T>
TROUPE_INLINE Vec load_n(const T* p, int64_t count) {
  return count == kWidth ? load(p) : load_partial(p, count);
}
template <class T>
TROUPE_INLINE void store_n(T* p, Vec v, int64_t count) {
  count == kWidth ? store(p, v) : store_partial(p, v, count);
}
template <class Body>
TROUPE_INLINE void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) body(i, int64_t{kWidth});
  if (i < n) body(i, n - i);
}

// Lanes.
TROUPE_INLINE Vec lane_numbers() {
  Vec v;
  for (int i = 0; i < kWidth; ++i) v[i] = static_cast<float>(i);
  return v;
}
TROUPE_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }  // b if either is NaN
TROUPE_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
TROUPE_INLINE Vec abs(Vec v) { return to_vec(bits_of(v) & 0x7FFFFFFFu); }
TROUPE_INLINE Vec copy_sign(Vec magnitude, Vec sign) {
  return to_vec((bits_of(magnitude) & 0x7FFFFFFFu) | (bits_of(sign) & 0x80000000u));
}
// Halves are folded onto each other: an order fixed by the width.
TROUPE_INLINE float sum_lanes(Vec v) {
  float lane[kWidth];
  store(lane, v);
  for (int step = kWidth / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}
TROUPE_INLINE float max_lanes(Vec v) {
  float lane[kWidth];
  store(lane, v);
  for (int step = kWidth / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] = lane[i] > lane[i + step] ? lane[i] : lane[i + step];
  return lane[0];
}

// 2^n (1 + r + r^2 P(r)) for limited = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to the integer n, which
// the low bits of the sum then hold.
TROUPE_INLINE Vec exp_reduced(Vec limited) {
  const Vec shifted = limited * 1.44269504f + 12582912.0f;
  const Vec n = shifted - 12582912.0f;
  const Vec r = (limited - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = r * 0.00138146131f + 0.00836870982f;
  p = p * r + 0.0416683874f;
  p = p * r + 0.166665207f;
  p = p * r + 0.499999935f;
  p = (r * r) * p + r;
  return to_vec(bits_of(p + 1.0f) + (bits_of(shifted) << 23));
}

TROUPE_INLINE Vec exp(Vec x) {
  Vec y = exp_reduced(max(min(x, broadcast(89.0f)), broadcast(-88.0f)));
  y = x < broadcast(-87.3365478f) ? Vec{} : y;
  y = x > broadcast(88.7228317f) ? broadcast(__builtin_inff()) : y;
  return x != x ? x : y;
}

// The same for x <= 0. NaN as arithmetic makes it stays NaN.
TROUPE_INLINE Vec exp_nonpositive(Vec x) {
  const Vec y = exp_reduced(max(broadcast(-88.0f), x));
  return x < broadcast(-87.3365478f) ? Vec{} : y;
}

// 2^x for x <= 0 (or a rounding error above), without an exact split of the exponent's argument: half a unit of x in
// the last place is the error. Below -126 the result is 0. NaN as arithmetic makes it stays NaN.
// x = n + r with |r| <= 1/2: 2^r = 1 + r P(r).
TROUPE_INLINE Vec exp2_nonpositive(Vec x) {
#if TROUPE_ISA_LEVEL >= 2
  const __m512 limited = _mm512_max_ps(_mm512_set1_ps(-150.0f), std::bit_cast<__m512>(x));  // NaN stays
  const __m512 n = _mm512_roundscale_ps(limited, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Vec r = std::bit_cast<Vec>(limited) - std::bit_cast<Vec>(n);
#else
  const Vec shifted = max(broadcast(-126.0f), x) + 12582912.0f;
  const Vec r = max(broadcast(-126.0f), x) - (shifted - 12582912.0f);
#endif
  Vec p = r * 0.000153533616f + 0.00133988744f;
  p = p * r + 0.00961843736f;
  p = p * r + 0.0555033247f;
  p = p * r + 0.240226479f;
  p = p * r + 0.693147203f;
  p = p * r + 1.0f;
#if TROUPE_ISA_LEVEL >= 2
  return std::bit_cast<Vec>(_mm512_scalef_ps(std::bit_cast<__m512>(p), n));
#else
  const Vec y = to_vec(bits_of(p) + (bits_of(shifted) << 23));
  return x < broadcast(-126.0f) ? Vec{} : y;
#endif
}

// The standard normal distribution function (1 + erf(x / sqrt 2)) / 2. For t = |x| its tail is 2^(-t R(t) - 1), with
// R fitted on [0, 6]: errors of at most 1.7 x 2^-24, and 1.5e-6 of the result above -3.
TROUPE_INLINE Vec normal_cdf(Vec x) {
  const Vec t = abs(x), s = min(t, broadcast(6.0f));
  Vec r = s * -2.15291792e-7f + 4.99501584e-6f;
  r = r * s + -4.63411379e-5f;
  r = r * s + 0.000189286104f;
  r = r * s + 0.000165533653f;
  r = r * s + -0.00712841656f;
  r = r * s + 0.0525527559f;
  r = r * s + 0.459187657f;
  r = r * s + 1.15110755f;
  const Vec tail = exp2_nonpositive(r * -t - 1.0f);
  return x < Vec{} ? tail : 1.0f - tail;
}

// tanh. |x| < 0.625: x + x^3 P(x^2); beyond: 1 - 2 / (e^(2|x|) + 1).
TROUPE_INLINE Vec tanh(Vec x) {
  const Vec t = min(abs(x), broadcast(10.0f));
  const Vec far = copy_sign(1.0f - 2.0f / (exp(t + t) + 1.0f), x);
  const Vec s = x * x;
  Vec p = s * -0.00564831579f + 0.0205898259f;
  p = p * s + -0.0537251264f;
  p = p * s + 0.133312744f;
  p = p * s + -0.333332761f;
  const Vec near = (p * s) * x + x;
  return abs(x) > broadcast(0.625f) ? far : near;
}

// Natural logarithm. x = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = f - f^2 / 2 + f^3 P(f).
// 0 and subnormal numbers give -inf, negative numbers NaN.
TROUPE_INLINE Vec log(Vec x) {
  const VecUint offset = bits_of(x) - 0x3F3504F3u;
  const Vec n = __builtin_convertvector(std::bit_cast<VecInt>(offset) >> 23, Vec);
  const Vec f = to_vec((offset & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
  Vec p = f * -0.0763449426f + 0.127615749f;
  p = p * f + -0.131601825f;
  p = p * f + 0.142017585f;
  p = p * f + -0.166233574f;
  p = p * f + 0.200012268f;
  p = p * f + -0.250008210f;
  p = p * f + 0.333333317f;
  const Vec square = f * f;
  Vec y = p * (square * f);
  y = n * -2.12194440e-4f + y;
  y = square * -0.5f + y;
  y = y + f;
  y = n * 0.693359375f + y;
  y = x < broadcast(1.17549435e-38f) ? broadcast(-__builtin_inff()) : y;
  y = x < Vec{} ? broadcast(__builtin_nanf("")) : y;
  y = x == broadcast(__builtin_inff()) ? x : y;
  return x != x ? x : y;
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
