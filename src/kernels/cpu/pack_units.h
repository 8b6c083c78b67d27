// Packing the operands of block_product.h, a tile of units at a time. A unit is 32 bits: a float, or two bf16 that
// follow each other along the summed dimension. Everything outside the source is zero. Include only from cpu/*.cpp.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/block_product.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// Rows of a head: `count` rows of C columns, `stride` elements apart.
template <class T>
struct Source {
  const T* data;
  int64_t stride, count, C;
  const T* row(int64_t r) const { return data + r * stride; }
};

template <class T>
TROUPE_INLINE Vec load_up_to(const T* p, int64_t count) {
  if (count >= kWidth) return load(p);
  return count > 0 ? load_partial(p, count) : Vec{};
}

#if TROUPE_ISA_LEVEL >= 3
// 16 bf16 in the low halves of the lanes.
TROUPE_INLINE VecUint load_halves(const bf16* p, int64_t count) { return bits_of(load_up_to(p, count)) >> 16; }
#endif

// Units u .. u + kWidth - 1 along row r.
template <class E, class T>
TROUPE_INLINE Vec units_along(const Source<T>& s, int64_t r, int64_t u) {
  if (r >= s.count) return Vec{};
#if TROUPE_ISA_LEVEL >= 3
  if constexpr (std::is_same_v<E, bf16>) {
    const int64_t left = s.C - 2 * u;
    const __mmask32 mask = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1u : 0u;
    return std::bit_cast<Vec>(_mm512_maskz_loadu_epi16(mask, s.row(r) + 2 * u));
  }
#endif
  return load_up_to(s.row(r) + u, s.C - u);
}

// The units of rows r .. r + kPair - 1 in columns c .. c + kWidth - 1.
template <class E, class T>
TROUPE_INLINE Vec units_across(const Source<T>& s, int64_t r, int64_t c) {
#if TROUPE_ISA_LEVEL >= 3
  if constexpr (std::is_same_v<E, bf16>) {
    const VecUint first = r < s.count ? load_halves(s.row(r) + c, s.C - c) : VecUint{};
    const VecUint second = r + 1 < s.count ? load_halves(s.row(r + 1) + c, s.C - c) : VecUint{};
    return to_vec(first | second << 16);
  }
#endif
  return r < s.count ? load_up_to(s.row(r) + c, s.C - c) : Vec{};
}

// dst[r][c], r < rows, c < width: the A operand that sums over columns.
template <class E, class T>
void pack_rows(const Source<T>& s, int64_t rows, int64_t width, E* dst) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t u = 0; u < width / kPair<E>; u += kWidth)
      store_n(reinterpret_cast<float*>(dst + r * width) + u, units_along<E>(s, r, u),
              width / kPair<E> - u < kWidth ? width / kPair<E> - u : kWidth);
}

// dst unit [u][r]: the B operand that sums over columns.
template <class E, class T>
void pack_pairs_of_columns(const Source<T>& s, int64_t rows, int64_t width, E* dst) {
  const int64_t num_units = width / kPair<E>;
  for (int64_t r = 0; r < rows; r += kWidth)
    for (int64_t u = 0; u < num_units; u += kWidth) {
      Vec tile[kWidth];
      for (int i = 0; i < kWidth; ++i) tile[i] = units_along<E>(s, r + i, u);
      transpose(tile);
      for (int i = 0; i < kWidth && u + i < num_units; ++i)
        store(reinterpret_cast<float*>(dst) + (u + i) * rows + r, tile[i]);
    }
}

// dst unit [r / kPair][c]: the B operand that sums over rows.
template <class E, class T>
void pack_pairs_of_rows(const Source<T>& s, int64_t rows, int64_t width, E* dst) {
  for (int64_t r = 0; r < rows; r += kPair<E>)
    for (int64_t c = 0; c < width; c += kWidth)
      store(reinterpret_cast<float*>(dst + r * width) + c, units_across<E>(s, r, c));
}

// dst[c][r]: the A operand that sums over rows.
template <class E, class T>
void pack_transposed(const Source<T>& s, int64_t rows, int64_t width, E* dst) {
  const int64_t num_units = rows / kPair<E>;
  for (int64_t c = 0; c < width; c += kWidth)
    for (int64_t u = 0; u < num_units; u += kWidth) {
      Vec tile[kWidth];
      for (int i = 0; i < kWidth; ++i) tile[i] = units_across<E>(s, (u + i) * kPair<E>, c);
      transpose(tile);
      for (int i = 0; i < kWidth; ++i) store(reinterpret_cast<float*>(dst) + (c + i) * num_units + u, tile[i]);
    }
}

// rows[i][c] = factor_i columns_CQ[c][i] for i < count, c < C; columns are `width` apart.
template <class T>
void write_transposed(const float* columns, int64_t width, const float* factors, int64_t count, int64_t C, T* rows,
                      int64_t stride) {
  for (int64_t i = 0; i < count; i += kWidth)
    for (int64_t c = 0; c < C; c += kWidth) {
      Vec tile[kWidth];
      for (int x = 0; x < kWidth; ++x)
        tile[x] = c + x < C ? load(columns + (c + x) * width + i) * load(factors + i) : Vec{};
      transpose(tile);
      for (int x = 0; x < kWidth && i + x < count; ++x)
        store_n(rows + (i + x) * stride + c, tile[x], C - c < kWidth ? C - c : kWidth);
    }
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
