// Products of bf16 blocks on AMX tiles: 32 x 32 of C at a time in four tiles, 32 of depth per step.
//
// Packed A: panels of 16 rows, each a sequence of tiles [16 rows][32 k]. Packed B: panels of 16 columns, each a
// sequence of tiles [16 pairs of k][16 columns][2], which is gemm_pack.h's layout. So every tile is 1 KB in one piece.
// B panels are the outer loop: two of them over k_block = 384 fill 24 KB of the L1 cache while A streams past them from
// L2, and the next two are prefetched into L2. Rows beyond the block are left out of the tiles, so few rows cost less.
//
// On machines without AMX this file runs in tests with the tiles emulated (tile.h): what is tested there is the layout,
// the blocking and the tails, not the instructions.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/tile.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

constexpr int64_t kTileDepth = 32, kTileUnits = 16, kTileElements = kTileRows * kTileDepth;

inline int64_t tiles_of(int64_t depth) { return (depth + kTileDepth - 1) / kTileDepth; }

// A from rows that lie along k.
void pack_tile_rows(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const bf16*>(source);
  auto* to = static_cast<bf16*>(packed);
  for (int64_t first = 0; first < count; first += kTileRows)
    for (int64_t k = 0; k < depth; k += kTileDepth, to += kTileElements)
      for (int64_t i = 0; i < kTileRows; ++i) {
        if (first + kTileRows + i < count) __builtin_prefetch(from + (first + kTileRows + i) * stride + k, 0, 2);
        const __m512i row = first + i < count ? load_units(PairUnit<bf16>{}, from + (first + i) * stride + k, depth - k)
                                              : _mm512_setzero_si512();
        _mm512_storeu_si512(to + i * kTileDepth, row);
      }
}

// A from rows that lie across: 32 of k by 32 rows at a time, pairs of k joined and then transposed.
void pack_tile_cols(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const bf16*>(source);
  const int64_t panel = tiles_of(depth) * kTileElements;
  const __m512i join_low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                            37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i join_high = _mm512_add_epi16(join_low, _mm512_set1_epi16(16));
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    for (int64_t next = k + kTileDepth; next < k + 2 * kTileDepth && next < depth; ++next)
      prefetch_row(from + next * stride, count);
    for (int64_t first = 0; first < count; first += 2 * kTileRows) {
      __m512i upper[16], lower[16];
      for (int64_t u = 0; u < kTileUnits; ++u) {
        const int64_t left = depth - k - 2 * u;
        const bf16* row = from + (k + 2 * u) * stride + first;
        const __m512i zero = _mm512_setzero_si512();
        const __m512i even = left > 0 ? load_units(PairUnit<bf16>{}, row, count - first) : zero;
        const __m512i odd = left > 1 ? load_units(PairUnit<bf16>{}, row + stride, count - first) : zero;
        upper[u] = _mm512_permutex2var_epi16(even, join_low, odd);
        lower[u] = _mm512_permutex2var_epi16(even, join_high, odd);
      }
      transpose(upper);
      bf16* to = static_cast<bf16*>(packed) + first / kTileRows * panel + k / kTileDepth * kTileElements;
      for (int64_t i = 0; i < kTileRows; ++i) _mm512_storeu_si512(to + i * kTileDepth, upper[i]);
      if (first + kTileRows >= count) continue;
      transpose(lower);
      for (int64_t i = 0; i < kTileRows; ++i) _mm512_storeu_si512(to + panel + i * kTileDepth, lower[i]);
    }
  }
}

// c [kUpper + lower rows, 32] += a b over `steps` tiles of depth, or = with c not read. The rows are those configured;
// without lower rows (kLower false) a_lower is not used. Prefetches 4 cache lines of `next` a step.
template <bool kLower>
inline void multiply_tiles(int64_t steps, const bf16* a_upper, const bf16* a_lower, const bf16* b_left,
                           const bf16* b_right, float* c, int64_t ldc, bool add, const char* next) {
  const int64_t c_stride = ldc * static_cast<int64_t>(sizeof(float));
  float* const c_lower = c + kTileRows * ldc;
  if (add) {
    TROUPE_TILE_LOAD(0, c, c_stride);
    TROUPE_TILE_LOAD(1, c + 16, c_stride);
    if constexpr (kLower) {
      TROUPE_TILE_LOAD(2, c_lower, c_stride);
      TROUPE_TILE_LOAD(3, c_lower + 16, c_stride);
    }
  } else {
    TROUPE_TILE_ZERO(0);
    TROUPE_TILE_ZERO(1);
    TROUPE_TILE_ZERO(2);
    TROUPE_TILE_ZERO(3);
  }
  for (int64_t step = 0; step < steps; ++step) {
    TROUPE_TILE_LOAD(6, b_left, kTileBytes);
    TROUPE_TILE_LOAD(4, a_upper, kTileBytes);
    TROUPE_TILE_LOAD(7, b_right, kTileBytes);
    TROUPE_TILE_MULTIPLY(0, 4, 6);
    TROUPE_TILE_MULTIPLY(1, 4, 7);
    if constexpr (kLower) {
      TROUPE_TILE_LOAD(5, a_lower, kTileBytes);
      TROUPE_TILE_MULTIPLY(2, 5, 6);
      TROUPE_TILE_MULTIPLY(3, 5, 7);
      a_lower += kTileElements;
    }
    for (int line = 0; line < 4; ++line, next += 64) _mm_prefetch(next, _MM_HINT_T1);
    a_upper += kTileElements;
    b_left += kTileElements;
    b_right += kTileElements;
  }
  TROUPE_TILE_STORE(0, c, c_stride);
  TROUPE_TILE_STORE(1, c + 16, c_stride);
  if constexpr (kLower) {
    TROUPE_TILE_STORE(2, c_lower, c_stride);
    TROUPE_TILE_STORE(3, c_lower + 16, c_stride);
  }
}

void multiply_with_tiles(int64_t m, int64_t n, int64_t k, const void* a, const void* b, float* c, int64_t ldc,
                         bool add) {
  constexpr int64_t kRows = 2 * kTileRows, kCols = 2 * kTileRows;
  const int64_t steps = tiles_of(k), panel = steps * kTileElements;
  int64_t configured = 0;
  for (int64_t j = 0; j < n; j += kCols) {
    const bf16* b_left = static_cast<const bf16*>(b) + j / kTileRows * panel;
    const char* next =
        reinterpret_cast<const char*>(b_left + 2 * panel);  // may lie past the end: prefetches never fault
    for (int64_t i = 0; i < m; i += kRows, next += 256 * steps) {
      const int64_t rows = m - i < kRows ? m - i : kRows, cols = n - j < kCols ? n - j : kCols;
      if (rows != configured) tile_configure(static_cast<int>(configured = rows));
      const bf16* a_upper = static_cast<const bf16*>(a) + i / kTileRows * panel;
      float* to = c + i * ldc + j;
      int64_t to_stride = ldc;
      float block[kRows * kCols];  // stands in for c where columns beyond n must not be touched
      if (cols < kCols) {
        for (int64_t row = 0; row < rows && add; ++row)
          for (int64_t col = 0; col < kCols; ++col) block[row * kCols + col] = col < cols ? to[row * ldc + col] : 0.0f;
        to = block;
        to_stride = kCols;
      }
      if (rows > kTileRows)
        multiply_tiles<true>(steps, a_upper, a_upper + panel, b_left, b_left + panel, to, to_stride, add, next);
      else
        multiply_tiles<false>(steps, a_upper, nullptr, b_left, b_left + panel, to, to_stride, add, next);
      for (int64_t row = 0; row < rows && cols < kCols; ++row)
        for (int64_t col = 0; col < cols; ++col) c[(i + row) * ldc + j + col] = block[row * kCols + col];
    }
  }
  tile_release();
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
