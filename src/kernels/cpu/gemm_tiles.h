// Products of bf16 blocks on AMX tiles: 32 x 32 of C at a time in four tiles, 32 of depth per step.
//
// Packed A: panels of 16 rows, each a sequence of tiles [16 rows][32 k]. Packed B: panels of 16 columns, each a
// sequence of tiles [16 pairs of k][16 columns][2], which is gemm_pack.h's layout. So every tile is 1 KB in one piece.
// A strip of 32 columns of B is multiplied with all of A, which is in L2 and streams past: loaded so that it leaves the
// L1 cache to the first kKeptSteps tiles of B and to C. Beyond those B streams, too. Rows beyond the block are left out
// of the tiles, so few rows cost less.
//
// On machines without AMX this file runs in tests with the tiles emulated (tile.h): what is tested there is the layout,
// the blocking and the tails, not the instructions.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

constexpr int64_t kTileDepth = 32, kTileUnits = 16, kTileElements = kTileRows * kTileDepth;
constexpr int64_t kKeptSteps = 16;  // of depth: 32 KB of B

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

// 32 columns of two rows, of which the first `rows` exist, joined column by column: the left and the right 16.
struct Pairs {
  __m512i left, right;
  TROUPE_INLINE Pairs(const bf16* row, int64_t stride, int64_t rows, int64_t count) {
    const __m512i join_left = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38,
                                               6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i join_right = _mm512_add_epi16(join_left, _mm512_set1_epi16(kTileRows));
    const __m512i zero = _mm512_setzero_si512();
    const __m512i even = rows > 0 ? load_units(PairUnit<bf16>{}, row, count) : zero;
    const __m512i odd = rows > 1 ? load_units(PairUnit<bf16>{}, row + stride, count) : zero;
    left = _mm512_permutex2var_epi16(even, join_left, odd);
    right = _mm512_permutex2var_epi16(even, join_right, odd);
  }
};

// A from rows that lie across: 32 of k by 32 rows at a time, pairs of k joined and then transposed.
void pack_tile_cols(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const bf16*>(source);
  const int64_t panel = tiles_of(depth) * kTileElements;
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    prefetch_rows(from, stride, k + kTileDepth, kTileDepth, depth, count);
    for (int64_t first = 0; first < count; first += 2 * kTileRows) {
      __m512i upper[16], lower[16];
      for (int64_t u = 0; u < kTileUnits; ++u) {
        const Pairs pairs(from + (k + 2 * u) * stride + first, stride, depth - k - 2 * u, count - first);
        upper[u] = pairs.left;
        lower[u] = pairs.right;
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

// B from columns that lie across: two elements that follow each other along k side by side. A tile at a time: those of
// all panels lie in the same sets of the L1 cache.
void pack_tile_pairs(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const bf16*>(source);
  const int64_t panel = tiles_of(depth) * kTileElements;
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    prefetch_rows(from, stride, k + kTileDepth, kTileDepth, depth, count);
    for (int64_t first = 0; first < count; first += 2 * kTileRows) {
      bf16* to = static_cast<bf16*>(packed) + first / kTileRows * panel + k * kTileRows;
      for (int64_t u = 0; u < kTileUnits; ++u, to += 2 * kTileRows) {
        const Pairs pairs(from + (k + 2 * u) * stride + first, stride, depth - k - 2 * u, count - first);
        _mm512_storeu_si512(to, pairs.left);
        _mm512_storeu_si512(to + panel, pairs.right);
      }
    }
  }
}

// Fetches the block of C that is stored or loaded next into L1, some rows a step.
class FetchBlock {
 public:
  FetchBlock(const float* c, int64_t ldc, int64_t steps)
      : c_(c), ldc_(ldc), rows_((2 * kTileRows + steps - 1) / steps) {}
  TROUPE_INLINE void step() {
    for (int64_t row = 0; row < rows_; ++row, c_ += ldc_) {
      __builtin_prefetch(c_, 1);
      __builtin_prefetch(c_ + kTileRows, 1);
    }
  }

 private:
  const float* c_;
  int64_t ldc_, rows_;
};

// A tile of sums passes from one block of C to the next: stored if there was one before, then zeroed or loaded.
#define TROUPE_NEXT_SUMS(tile, at)                                 \
  do {                                                             \
    if (before) TROUPE_TILE_STORE(tile, before + (at), stride);    \
    if (add)                                                       \
      TROUPE_TILE_LOAD(tile, c + (at), stride);                    \
    else                                                           \
      TROUPE_TILE_ZERO(tile);                                      \
  } while (false)

// A step of depth on packed tiles; the other panel is `panel` further on. A is streamed; so is B unless kKeepB.
template <bool kLower, bool kKeepB>
TROUPE_INLINE void multiply_step(const bf16* a, const bf16* b, int64_t panel) {
  tile_step<kLower, true, !kKeepB>(a, a + panel, kTileBytes, b, b + panel, kTileBytes);
}

// Sums of a block, c [upper + lower rows, 32] = or += a b over `steps` tiles of depth, left in the tiles. What is there
// of the block `before` (unless nullptr) is stored between the first products, where it costs no time. Rows are those
// configured.
template <bool kLower>
TROUPE_INLINE void multiply_block(int64_t steps, const bf16* a, const bf16* b, int64_t panel, float* before, float* c,
                                  int64_t ldc, bool add, FetchBlock fetch) {
  const int64_t stride = ldc * static_cast<int64_t>(sizeof(float)), lower = kTileRows * ldc;
  TROUPE_TILE_STREAM(4, a, kTileBytes);
  TROUPE_TILE_LOAD(6, b, kTileBytes);
  TROUPE_TILE_LOAD(7, b + panel, kTileBytes);
  TROUPE_NEXT_SUMS(0, 0);
  TROUPE_TILE_MULTIPLY(0, 4, 6);
  TROUPE_NEXT_SUMS(1, 16);
  TROUPE_TILE_MULTIPLY(1, 4, 7);
  if constexpr (kLower) {
    TROUPE_TILE_STREAM(5, a + panel, kTileBytes);
    TROUPE_NEXT_SUMS(2, lower);
    TROUPE_TILE_MULTIPLY(2, 5, 6);
    TROUPE_NEXT_SUMS(3, lower + 16);
    TROUPE_TILE_MULTIPLY(3, 5, 7);
  }
  fetch.step();
  int64_t step = 1;
  for (; step < steps && step < kKeptSteps; ++step) {
    multiply_step<kLower, true>(a + step * kTileElements, b + step * kTileElements, panel);
    fetch.step();
  }
  for (; step < steps; ++step) {
    multiply_step<kLower, false>(a + step * kTileElements, b + step * kTileElements, panel);
    fetch.step();
  }
}

void multiply_with_tiles(int64_t m, int64_t n, int64_t k, const void* a, const void* b, float* c, int64_t ldc,
                         bool add) {
  constexpr int64_t kBlock = 2 * kTileRows;
  const int64_t steps = tiles_of(k), panel = steps * kTileElements, whole = m / kBlock * kBlock;
  const auto a_at = [&](int64_t i) { return static_cast<const bf16*>(a) + i / kTileRows * panel; };
  const auto b_at = [&](int64_t j) { return static_cast<const bf16*>(b) + j / kTileRows * panel; };
  float* before = nullptr;
  if (whole > 0) tile_configure(kBlock);
  for (int64_t j = 0; j < n; j += kBlock)
    for (int64_t i = 0; i < whole; i += kBlock) {
      float* const c_ij = c + i * ldc + j;
      const FetchBlock fetch(add ? c_ij + kBlock * ldc : c_ij, ldc, steps);
      multiply_block<true>(steps, a_at(i), b_at(j), panel, before, c_ij, ldc, add, fetch);
      before = c_ij;
    }
  if (before) store_sums(before, ldc, true);
  if (const int64_t rows = m - whole; rows > 0) {
    tile_configure(static_cast<int>(rows));
    for (int64_t j = 0; j < n; j += kBlock) {
      float* const c_ij = c + whole * ldc + j;
      const FetchBlock fetch(c_ij, ldc, steps);
      if (rows > kTileRows)
        multiply_block<true>(steps, a_at(whole), b_at(j), panel, nullptr, c_ij, ldc, add, fetch);
      else
        multiply_block<false>(steps, a_at(whole), b_at(j), panel, nullptr, c_ij, ldc, add, fetch);
      store_sums(c_ij, ldc, rows > kTileRows);
    }
  }
  tile_release();
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
