// Products of packed panels with a block of C in registers: kRows x (kVectors vectors). Per unit of depth it loads
// kVectors vectors of B and one unit of each row of A; all else stays in registers. B panels are the outer loop: a
// panel of kPanelDepth units stays in the L1 cache while the panels of A stream past it from L2. Where no instruction
// broadcasts while it loads, a panel of A is broadcast into L1 and those of B stream past it.
#pragma once

#include <cstdint>

#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

struct FloatProduct {
  static constexpr int kDepth = 1;
  static Vec accumulate(Vec a, Vec b, Vec sum) { return a * b + sum; }
};
#if TROUPE_ISA_LEVEL >= 3
// sum + a_even b_even + a_odd b_odd of the bf16 pairs in each lane (VDPBF16PS: flushes subnormals, rounds to nearest).
struct PairProduct {
  static constexpr int kDepth = 2;
  static Vec accumulate(Vec a, Vec b, Vec sum) {
    return std::bit_cast<Vec>(
        _mm512_dpbf16_ps(std::bit_cast<__m512>(sum), std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(b)));
  }
};
#endif

constexpr bool kBroadcasts = TROUPE_ISA_LEVEL >= 1;
constexpr int64_t kPanelDepth = kBroadcasts ? 384 : 192;

// How far ahead of its use B is fetched into L2, in units: with few rows of A, B comes straight from memory, which the
// hardware's own prefetch does not keep up with.
constexpr int64_t kPrefetch = 1536;

// c [kUsed, kVectors * lanes] (+)= a b, where a is a panel of kRows rows of which kUsed count.
template <class Product, int kRows, int kVectors, int kUsed>
static void multiply_panels(int64_t units, const float* a, const float* b, float* c, int64_t ldc, bool add) {
  constexpr int kLanes = kWidth, kUnit = kBroadcasts ? 1 : kWidth;  // of a row of A: a unit or a vector of it
  Vec sum[kUsed][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kUsed; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sum[i][j] = Vec{};
  if (add) {  // c may be far away: it is there when the sums are
#pragma GCC unroll 16
    for (int i = 0; i < kUsed; ++i)
      for (int j = 0; j < kVectors * kWidth; j += 16) __builtin_prefetch(c + i * ldc + j, 0, 2);
  }
  for (int64_t u = 0; u < units; ++u, a += kRows * kUnit, b += kVectors * kLanes) {
    for (int j = 0; j < kVectors * kWidth; j += 16) __builtin_prefetch(b + kPrefetch + j, 0, 2);
    Vec b_u[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) b_u[j] = load(b + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kUsed; ++i) {
      const Vec a_ui = kBroadcasts ? broadcast(a[i]) : load(a + i * kUnit);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Product::accumulate(a_ui, b_u[j], sum[i][j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kUsed; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      float* c_ij = c + i * ldc + j * kLanes;
      store(c_ij, add ? load(c_ij) + sum[i][j] : sum[i][j]);
    }
}

template <class Product, int kRows, int kVectors>
struct RegisterKernel {
  static constexpr int kCols = kVectors * kWidth;
  using PanelFunction = void (*)(int64_t, const float*, const float*, float*, int64_t, bool);

  // One entry per number of rows in use, so that few rows cost no more than they need.
  template <int... kUsed>
  struct Panels {
    static constexpr PanelFunction kFunctions[] = {multiply_panels<Product, kRows, kVectors, kUsed + 1>...};
  };
  template <int kCount, int... kUsed>
  struct MakePanels : MakePanels<kCount - 1, kCount - 1, kUsed...> {};
  template <int... kUsed>
  struct MakePanels<0, kUsed...> : Panels<kUsed...> {};

  static void multiply(int64_t m, int64_t n, int64_t k, const void* a, const void* b, float* c, int64_t ldc, bool add) {
    const int64_t units = (k + Product::kDepth - 1) / Product::kDepth;
    const auto a_panel = [&](int64_t i) { return static_cast<const float*>(a) + i * units; };
    const auto b_panel = [&](int64_t j) { return static_cast<const float*>(b) + j * units; };
    const auto block = [&](int64_t i, int64_t j, const float* a_units) {
      multiply_block(m - i < kRows ? m - i : kRows, n - j < kCols ? n - j : kCols, units, a_units, b_panel(j),
                     c + i * ldc + j, ldc, add);
    };
    if constexpr (kBroadcasts) {
      for (int64_t j = 0; j < n; j += kCols)
        for (int64_t i = 0; i < m; i += kRows) block(i, j, a_panel(i));
    } else {
      float a_vectors[kRows * kPanelDepth * kWidth];  // no block is deeper than kPanelDepth (cpu/gemm.cpp)
      for (int64_t i = 0; i < m; i += kRows) {
        for (int64_t u = 0; u < kRows * units; ++u) store(a_vectors + u * kWidth, broadcast(a_panel(i)[u]));
        for (int64_t j = 0; j < n; j += kCols) block(i, j, a_vectors);
      }
    }
  }

  static void multiply_block(int64_t rows, int64_t cols, int64_t units, const float* a, const float* b, float* c,
                             int64_t ldc, bool add) {
    const PanelFunction panels = MakePanels<kRows>::kFunctions[rows - 1];
    if (cols == kCols) return panels(units, a, b, c, ldc, add);
    float tile[kRows * kCols];  // columns beyond n must not be touched
    panels(units, a, b, tile, kCols, false);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t col = 0; col < cols; ++col)
        c[row * ldc + col] = add ? c[row * ldc + col] + tile[row * kCols + col] : tile[row * kCols + col];
  }
};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
