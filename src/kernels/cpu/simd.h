// The float32 vector of the instruction set that a file is compiled for. Only for sources in cpu/ at level avx2 or
// above.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace troupe::TROUPE_ISA_NAMESPACE {

#if TROUPE_ISA_LEVEL >= 2
struct Vector {
  static constexpr int kLanes = 16;
  __m512 v;
  static Vector zero() { return {_mm512_setzero_ps()}; }
  static Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vector broadcast(const float* p) { return {_mm512_set1_ps(*p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  friend Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
};
inline Vector multiply_add(Vector a, Vector b, Vector sum) { return {_mm512_fmadd_ps(a.v, b.v, sum.v)}; }
#elif TROUPE_ISA_LEVEL == 1
struct Vector {
  static constexpr int kLanes = 8;
  __m256 v;
  static Vector zero() { return {_mm256_setzero_ps()}; }
  static Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vector broadcast(const float* p) { return {_mm256_broadcast_ss(p)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  friend Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
};
inline Vector multiply_add(Vector a, Vector b, Vector sum) { return {_mm256_fmadd_ps(a.v, b.v, sum.v)}; }
#endif

#if TROUPE_ISA_LEVEL >= 3
// sum + a_even b_even + a_odd b_odd of the bf16 pairs in each lane (VDPBF16PS: flushes subnormals, rounds to nearest).
inline Vector dot_pairs(Vector a, Vector b, Vector sum) {
  return {_mm512_dpbf16_ps(sum.v, (__m512bh)_mm512_castps_si512(a.v), (__m512bh)_mm512_castps_si512(b.v))};
}
#endif

}  // namespace troupe::TROUPE_ISA_NAMESPACE
