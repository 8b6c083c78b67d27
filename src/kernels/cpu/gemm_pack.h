// Packing for register-blocked products. A packed block is a row of panels of kPanel vectors; a panel holds, for every
// unit of depth, the unit of each of its vectors: [panel][unit][vector]. A unit is 32 bits: one float, or two
// consecutive bf16. Vectors are filled up with zeros, depth to a multiple of kStep units.
#pragma once

#include <cstdint>

#if TROUPE_ISA_LEVEL >= 2
#include <immintrin.h>
#endif

#include "kernels/cpu/transpose.h"
#include "tensor/bf16.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

static inline uint32_t float_bits(float value) { return __builtin_bit_cast(uint32_t, value); }
static inline uint32_t bf16_bits(bf16 value) { return value.bits; }
static inline uint32_t bf16_bits(float value) { return bf16(value).bits; }

// Units: how the packed type represents `depth` consecutive source elements.
struct FloatUnit {  // one float as it is
  static constexpr int kDepth = 1;
  using Source = float;
  static uint32_t one(const float* p, int64_t) { return float_bits(*p); }
};
struct WidenedUnit {  // one bf16 as float
  static constexpr int kDepth = 1;
  using Source = bf16;
  static uint32_t one(const bf16* p, int64_t) { return uint32_t{p->bits} << 16; }
};
struct RoundedUnit {  // one float rounded to bf16, as float
  static constexpr int kDepth = 1;
  using Source = float;
  static uint32_t one(const float* p, int64_t) { return bf16_bits(*p) << 16; }
};
template <class T>
struct PairUnit {  // two elements as bf16, `step` apart
  static constexpr int kDepth = 2;
  using Source = T;
  static uint32_t one(const T* p, int64_t step) { return bf16_bits(p[0]) | bf16_bits(p[step]) << 16; }
  static uint32_t half(const T* p) { return bf16_bits(p[0]); }
};

template <class Unit, int kStep>
static inline int64_t units_of(int64_t depth) {
  constexpr int64_t kElements = Unit::kDepth * kStep;
  return (depth + kElements - 1) / kElements * kStep;
}

// The unit at p where `left` elements remain: whole, half or nothing.
template <class Unit>
static inline uint32_t unit_at(const typename Unit::Source* p, int64_t step, int64_t left) {
  if (left >= Unit::kDepth) return Unit::one(p, step);
  if constexpr (Unit::kDepth == 2)
    if (left == 1) return Unit::half(p);
  return 0;
}

#if TROUPE_ISA_LEVEL >= 2
// Rows of 16 units loaded from along k; elements from `left` on are zero.
static inline __m512i load_units(FloatUnit, const float* p, int64_t left) {
  return _mm512_castps_si512(_mm512_maskz_loadu_ps(static_cast<__mmask16>(left >= 16 ? 0xFFFFu : (1u << left) - 1), p));
}
static inline __m512i load_units(WidenedUnit, const bf16* p, int64_t left) {
  const auto mask = static_cast<__mmask16>(left >= 16 ? 0xFFFFu : (1u << left) - 1);
  return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16);
}
static inline __m512i load_units(PairUnit<bf16>, const bf16* p, int64_t left) {
  return _mm512_maskz_loadu_epi16(static_cast<__mmask32>(left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1), p);
}
static inline __m512i round_to_bf16(__m512i word) {  // in the upper halves; the lower are zero
  return _mm512_and_si512(round_upper_halves(word), _mm512_set1_epi32(static_cast<int>(0xFFFF0000)));
}
static inline __m512i load_units(RoundedUnit, const float* p, int64_t left) {
  return round_to_bf16(load_units(FloatUnit{}, p, left));
}
static inline __m512i load_units(PairUnit<float>, const float* p, int64_t left) {
  const __m512i low = round_to_bf16(load_units(FloatUnit{}, p, left < 16 ? left : 16));
  const __m512i high = round_to_bf16(left > 16 ? load_units(FloatUnit{}, p + 16, left - 16) : _mm512_setzero_si512());
  return _mm512_permutex2var_epi16(low,
                                   _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31,
                                                    29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1),
                                   high);
}

// Units of 16 vectors that lie across, those in `lanes`; `left` elements of depth remain, `step` apart.
static inline __m512i load_across(FloatUnit, const float* p, int64_t, int64_t, __mmask16 lanes) {
  return _mm512_castps_si512(_mm512_maskz_loadu_ps(lanes, p));
}
static inline __m512i load_across(WidenedUnit, const bf16* p, int64_t, int64_t, __mmask16 lanes) {
  return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p)), 16);
}
static inline __m512i load_across(RoundedUnit, const float* p, int64_t, int64_t, __mmask16 lanes) {
  return round_to_bf16(_mm512_castps_si512(_mm512_maskz_loadu_ps(lanes, p)));
}
static inline __m512i load_across(PairUnit<bf16>, const bf16* p, int64_t step, int64_t left, __mmask16 lanes) {
  const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p));
  return left > 1 ? _mm512_or_si512(even, load_across(WidenedUnit{}, p + step, 0, 0, lanes)) : even;
}
static inline __m512i load_across(PairUnit<float>, const float* p, int64_t step, int64_t left, __mmask16 lanes) {
  const __m512i even = _mm512_srli_epi32(load_across(RoundedUnit{}, p, 0, 0, lanes), 16);
  return left > 1 ? _mm512_or_si512(even, load_across(RoundedUnit{}, p + step, 0, 0, lanes)) : even;
}

#endif

// Operands often come from memory, a short piece of many rows at a time, which the hardware does not foresee: the rows
// that are packed next, `next` from row `begin` on, are fetched meanwhile.
template <class T>
static inline void prefetch_rows(const T* from, int64_t stride, int64_t begin, int64_t next, int64_t rows,
                                 int64_t count) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t r = begin; r < begin + next && r < rows; ++r)
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(from + r * stride + i, 0, 2);
}

// Whether what is packed is used soon, or is more than the caches hold: then whole lines go to memory, which are not read
// before they are written.
enum class Store { kToCaches, kToMemory };
#if TROUPE_ISA_LEVEL >= 2
template <Store kStore, int kPanel>
static inline void store_units(uint32_t* to, __mmask16 mask, __m512i units) {
  if constexpr (kStore == Store::kToMemory && kPanel % 16 == 0)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), units);
  else
    _mm512_mask_storeu_epi32(to, mask, units);
}
#endif
template <Store kStore>
static inline void finish_stores() {
#if TROUPE_ISA_LEVEL >= 2
  if constexpr (kStore == Store::kToMemory) _mm_sfence();  // others see them
#endif
}

// Vectors that lie along k.
template <class Unit, int kPanel, int kStep = 1, Store kStore = Store::kToCaches>
static void pack_rows(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const typename Unit::Source*>(source);
  auto* to = static_cast<uint32_t*>(packed);
  const int64_t units = units_of<Unit, kStep>(depth);
  for (int64_t first = 0; first < count; first += kPanel, to += units * kPanel) {
#if TROUPE_ISA_LEVEL >= 2
    constexpr int kGroup = 16, kLine = 64 / static_cast<int>(sizeof(typename Unit::Source));
    for (int64_t i0 = 0; i0 < kPanel; i0 += kGroup) {
      const auto lanes = static_cast<__mmask16>(kPanel - i0 >= kGroup ? 0xFFFFu : (1u << (kPanel - i0)) - 1);
      for (int64_t u0 = 0; u0 < units; u0 += kGroup) {
        __m512i block[kGroup];
        for (int i = 0; i < kGroup; ++i) {
          const int64_t vector = first + i0 + i;
          for (int64_t k = 0; vector + kPanel < count && k < kGroup * Unit::kDepth; k += kLine)
            __builtin_prefetch(from + (vector + kPanel) * stride + u0 * Unit::kDepth + k, 0, 2);
          block[i] = vector < count && i0 + i < kPanel
                         ? load_units(Unit{}, from + vector * stride + u0 * Unit::kDepth, depth - u0 * Unit::kDepth)
                         : _mm512_setzero_si512();
        }
        transpose(block);
        const int64_t last = units - u0 < kGroup ? units - u0 : kGroup;
        for (int64_t u = 0; u < last; ++u)
          store_units<kStore, kPanel>(to + (u0 + u) * kPanel + i0, lanes, block[u]);
      }
    }
#else
    for (int64_t i = 0; i < kPanel; ++i) {
      const auto* vector = from + (first + i) * stride;
      for (int64_t u = 0; u < units; ++u) {
        const int64_t k = u * Unit::kDepth;
        to[u * kPanel + i] = first + i < count ? unit_at<Unit>(vector + k, 1, depth - k) : 0;
      }
    }
#endif
  }
  finish_stores<kStore>();
}

// Vectors that lie across: one element of each side by side, the next along k a stride away. Four units of every panel
// in turn, so that source rows are read along and cache lines are still there for the next panel.
template <class Unit, int kPanel, int kStep = 1, Store kStore = Store::kToCaches>
static void pack_cols(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const typename Unit::Source*>(source);
  const int64_t units = units_of<Unit, kStep>(depth);
  constexpr int64_t kUnits = 4;
  for (int64_t u0 = 0; u0 < units; u0 += kUnits) {
    const int64_t u1 = u0 + kUnits < units ? u0 + kUnits : units;
    prefetch_rows(from, stride, u1 * Unit::kDepth, kUnits * Unit::kDepth, depth, count);
    for (int64_t first = 0; first < count; first += kPanel) {
      const int64_t used = count - first < kPanel ? count - first : kPanel;
      for (int64_t u = u0; u < u1; ++u) {
        const auto* p = from + u * Unit::kDepth * stride + first;
        const int64_t left = depth - u * Unit::kDepth;
        uint32_t* to = static_cast<uint32_t*>(packed) + first * units + u * kPanel;
#if TROUPE_ISA_LEVEL >= 2
        for (int64_t i = 0; i < kPanel; i += 16) {
          const auto lanes = static_cast<__mmask16>(used - i >= 16 ? 0xFFFFu : used > i ? (1u << (used - i)) - 1 : 0u);
          const auto panel = static_cast<__mmask16>(kPanel - i >= 16 ? 0xFFFFu : (1u << (kPanel - i)) - 1);
          const __m512i block = left > 0 ? load_across(Unit{}, p + i, stride, left, lanes) : _mm512_setzero_si512();
          store_units<kStore, kPanel>(to + i, panel, block);
        }
#else
        if (used == kPanel && left >= Unit::kDepth)
          for (int i = 0; i < kPanel; ++i) to[i] = Unit::one(p + i, stride);
        else
          for (int i = 0; i < kPanel; ++i) to[i] = i < used ? unit_at<Unit>(p + i, stride, left) : 0;
#endif
      }
    }
  }
  finish_stores<kStore>();
}

}  // namespace troupe::TROUPE_ISA_NAMESPACE
