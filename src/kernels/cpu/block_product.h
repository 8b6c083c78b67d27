// Products of small blocks that stay in cache, for attention: C[m, n] (+)= A[m, k] B[k, n] in float32. Include only
// from cpu/*.cpp.
//   A  row-major, k contiguous                      B  units along n: unit (u, j) holds B[u * kPair .. + kPair - 1, j]
// A unit is 32 bits: one float, or the bf16 pair that a dot instruction takes. k must be a multiple of kPair, n of
// kWidth; with AMX, bf16 products also need m a multiple of 16 and k, n of 32.
// A sum runs over k in order, in pairs for bf16 (AMX: by tiles of 32).
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/vec_math.h"
#if TROUPE_ISA_LEVEL >= 4
#include "kernels/cpu/tile.h"
#endif

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// The type in which operands of type T are multiplied here: bf16 is widened where no instruction takes it.
#if TROUPE_ISA_LEVEL >= 3
template <class T>
using Compute = T;
#else
template <class T>
using Compute = float;
#endif

template <class E>
constexpr int64_t kPair = 4 / static_cast<int64_t>(sizeof(E));

// Sizes along k and n are padded to multiples of this.
constexpr int64_t kBlockStep = TROUPE_ISA_LEVEL >= 4 ? 32 : 16;

template <class E>
TROUPE_INLINE Vec accumulate(Vec sum, Vec a, Vec b) {
#if TROUPE_ISA_LEVEL >= 3
  if constexpr (std::is_same_v<E, bf16>)
    return std::bit_cast<Vec>(
        _mm512_dpbf16_ps(std::bit_cast<__m512>(sum), std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(b)));
#endif
  return a * b + sum;
}

// The unit at p in every lane.
TROUPE_INLINE Vec broadcast_unit(const void* p) {
  float unit;
  std::memcpy(&unit, p, sizeof unit);
  return broadcast(unit);
}

template <class E, int kRows, int kVectors>
void register_block(int64_t k, const E* a, int64_t lda, const E* b, int64_t ldb, float* c, int64_t ldc, bool add) {
  Vec sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j) sum[i][j] = add ? load(c + i * ldc + j * kWidth) : Vec{};
  const float* b_unit = reinterpret_cast<const float*>(b);
  for (int64_t u = 0; u < k / kPair<E>; ++u, b_unit += ldb) {
    Vec b_u[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) b_u[j] = load(b_unit + j * kWidth);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vec a_iu = broadcast_unit(a + i * lda + u * kPair<E>);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) sum[i][j] = accumulate<E>(sum[i][j], a_iu, b_u[j]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j) store(c + i * ldc + j * kWidth, sum[i][j]);
}

// Rows in register blocks of kRows, the rest in one smaller block.
template <class E, int kRows, int kVectors>
void column_strip(int64_t m, int64_t k, const E* a, int64_t lda, const E* b, int64_t ldb, float* c, int64_t ldc,
                  bool add) {
  for (; m >= kRows; m -= kRows, a += kRows * lda, c += kRows * ldc)
    register_block<E, kRows, kVectors>(k, a, lda, b, ldb, c, ldc, add);
  if constexpr (kRows > 1)
    if (m > 0) column_strip<E, kRows / 2, kVectors>(m, k, a, lda, b, ldb, c, ldc, add);
}

#if TROUPE_ISA_LEVEL >= 4
// Blocks of 32 x 32 (or 16 x 32) in four tiles of sums; A and B rows are tile rows as they lie in memory.
void tile_product(int64_t m, int64_t n, int64_t k, const bf16* a, int64_t lda, const bf16* b, int64_t ldb, float* c,
                  int64_t ldc, bool add) {
  const int64_t a_bytes = lda * 2, b_bytes = ldb * 4;
  for (int64_t j = 0; j < n; j += 32)
    for (int64_t i = 0; i < m; i += 32) {
      const bool two = i + 16 < m;
      float* c_ij = c + i * ldc + j;
      begin_sums(c_ij, ldc, two, add);
      const bf16 *a_i = a + i * lda, *b_j = b + j * 2;
      for (int64_t p = 0; p < k; p += 32, a_i += 32, b_j += 32 * ldb)
        if (two)
          tile_step<true, false, false>(a_i, a_i + 16 * lda, a_bytes, b_j, b_j + 32, b_bytes);
        else
          tile_step<false, false, false>(a_i, nullptr, a_bytes, b_j, b_j + 32, b_bytes);
      store_sums(c_ij, ldc, two);
    }
}
#endif

// ldb is in units, lda and ldc in elements.
template <class E>
void block_product(int64_t m, int64_t n, int64_t k, const E* a, int64_t lda, const E* b, int64_t ldb, float* c,
                   int64_t ldc, bool add) {
#if TROUPE_ISA_LEVEL >= 4
  if constexpr (std::is_same_v<E, bf16>) return tile_product(m, n, k, a, lda, b, ldb, c, ldc, add);
#endif
  constexpr int kWide = TROUPE_ISA_LEVEL >= 2 ? 4 : 2, kRows = TROUPE_ISA_LEVEL >= 2 ? 6 : 4;
  int64_t j = 0;
  for (; j + kWide * kWidth <= n; j += kWide * kWidth)
    column_strip<E, kRows, kWide>(m, k, a, lda, b + j * kPair<E>, ldb, c + j, ldc, add);
  for (; j < n; j += kWidth) column_strip<E, kRows, 1>(m, k, a, lda, b + j * kPair<E>, ldb, c + j, ldc, add);
}

// To be held while block products run on a thread: tiles are configured per thread.
class BlockProductScope {
 public:
  BlockProductScope() {
#if TROUPE_ISA_LEVEL >= 4
    tile_configure(2 * kTileRows);
#endif
  }
  ~BlockProductScope() {
#if TROUPE_ISA_LEVEL >= 4
    tile_release();
#endif
  }
  BlockProductScope(const BlockProductScope&) = delete;
};

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
