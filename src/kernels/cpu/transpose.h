// Squares of units in registers. V is Vec or another type for the same register. Include only from cpu/*.cpp.
#pragma once

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// t[i] lane j  <->  t[j] lane i
template <class V>
TROUPE_INLINE void transpose(V (&t)[kWidth]) {
#if TROUPE_ISA_LEVEL >= 2
  __m512 a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    const __m512 even = std::bit_cast<__m512>(t[i]), odd = std::bit_cast<__m512>(t[i + 1]);
    a[i] = _mm512_unpacklo_ps(even, odd);
    a[i + 1] = _mm512_unpackhi_ps(even, odd);
  }
  const auto low = [](__m512 x, __m512 y) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
  };
  const auto high = [](__m512 x, __m512 y) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
  };
  // b[4 g + i]: in its 128-bit lane l, column 4 l + i of rows 4 g .. 4 g + 3.
#pragma GCC unroll 16
  for (int g = 0; g < 16; g += 4) {
    b[g] = low(a[g], a[g + 2]);
    b[g + 1] = high(a[g], a[g + 2]);
    b[g + 2] = low(a[g + 1], a[g + 3]);
    b[g + 3] = high(a[g + 1], a[g + 3]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
    a[i + 4] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xDD);
    a[i + 8] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
    a[i + 12] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 8; ++i) {
    t[i] = std::bit_cast<V>(_mm512_shuffle_f32x4(a[i], a[i + 8], 0x88));
    t[i + 8] = std::bit_cast<V>(_mm512_shuffle_f32x4(a[i], a[i + 8], 0xDD));
  }
#else
  float square[kWidth][kWidth];
  for (int i = 0; i < kWidth; ++i)
    for (int j = 0; j < kWidth; ++j) square[j][i] = t[i][j];
  for (int i = 0; i < kWidth; ++i) t[i] = load(square[i]);
#endif
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
