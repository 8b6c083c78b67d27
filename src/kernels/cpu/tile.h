// AMX tiles: eight registers of up to 16 rows of 64 bytes, and the product of two of them:
//   C[m, n] += sum_p A[m, 2p] B[p, 2n] + A[m, 2p + 1] B[p, 2n + 1]      (C float32, A and B bf16)
// Everything about tiles that the compiler has to know is here, so that a test can put an emulation in its place
// (TROUPE_EMULATE_TILES) and run the blocking on processors without AMX.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>

#ifndef TROUPE_EMULATE_TILES
#include <immintrin.h>
#endif

#include "tensor/bf16.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

constexpr int kTileRows = 16, kTileBytes = 64;

// Palette 1 of LDTILECFG: 64 bytes, bytes per row from byte 16 on, rows from byte 48 on.
struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

#ifndef TROUPE_EMULATE_TILES
// Written out, as the intrinsic of GCC 12 does not say that it reads memory: stores before it might move behind it.
#define TROUPE_TILE_LOAD(tile, from, stride) \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(static_cast<int64_t>(stride)) : "memory")
// The same for what is not used again soon: it leaves the L1 cache to others.
#define TROUPE_TILE_STREAM(tile, from, stride) \
  __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(static_cast<int64_t>(stride)) : "memory")
#define TROUPE_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define TROUPE_TILE_ZERO(tile) _tile_zero(tile)
#define TROUPE_TILE_MULTIPLY(c, a, b) _tile_dpbf16ps(c, a, b)
// Written out, as GCC 12 drops stores to a local configuration before the intrinsic.
inline void load_tile_config(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory"); }
inline void tile_release() { _tile_release(); }
#else
struct EmulatedTiles {
  TileConfig config;
  unsigned char bytes[8][kTileRows][kTileBytes];
};
inline EmulatedTiles& emulated() {
  static thread_local EmulatedTiles tiles;
  return tiles;
}
inline void load_tile_config(const TileConfig& config) { emulated().config = config; }
inline void tile_release() { emulated() = {}; }
inline void emulated_load(int tile, const void* from, int64_t stride) {
  EmulatedTiles& t = emulated();
  std::memset(t.bytes[tile], 0, sizeof t.bytes[tile]);
  for (int row = 0; row < t.config.rows[tile]; ++row)
    std::memcpy(t.bytes[tile][row], static_cast<const char*>(from) + row * stride, t.config.row_bytes[tile]);
}
inline void emulated_store(int tile, void* to, int64_t stride) {
  EmulatedTiles& t = emulated();
  for (int row = 0; row < t.config.rows[tile]; ++row)
    std::memcpy(static_cast<char*>(to) + row * stride, t.bytes[tile][row], t.config.row_bytes[tile]);
}
inline void emulated_zero(int tile) { std::memset(emulated().bytes[tile], 0, sizeof emulated().bytes[tile]); }
inline void emulated_multiply(int c, int a, int b) {
  EmulatedTiles& t = emulated();
  for (int m = 0; m < t.config.rows[c]; ++m)
    for (int n = 0; n < t.config.row_bytes[c] / 4; ++n) {
      float sum;
      std::memcpy(&sum, t.bytes[c][m] + 4 * n, sizeof sum);
      for (int p = 0; p < t.config.row_bytes[a] / 4; ++p) {
        bf16 x[2], y[2];
        std::memcpy(static_cast<void*>(x), t.bytes[a][m] + 4 * p, sizeof x);
        std::memcpy(static_cast<void*>(y), t.bytes[b][p] + 4 * n, sizeof y);
        sum += float(x[0]) * float(y[0]);
        sum += float(x[1]) * float(y[1]);
      }
      std::memcpy(t.bytes[c][m] + 4 * n, &sum, sizeof sum);
    }
}
#define TROUPE_TILE_LOAD(tile, from, stride) emulated_load(tile, from, stride)
#define TROUPE_TILE_STREAM(tile, from, stride) emulated_load(tile, from, stride)
#define TROUPE_TILE_STORE(tile, to, stride) emulated_store(tile, to, stride)
#define TROUPE_TILE_ZERO(tile) emulated_zero(tile)
#define TROUPE_TILE_MULTIPLY(c, a, b) emulated_multiply(c, a, b)
#endif

// Tiles 0-3: sums of 2 x 2 blocks of C; 4, 5: A (upper and lower rows); 6, 7: B (left and right columns). The block has
// `rows` rows in all, 1 to 32; columns and depth are full.
inline void tile_configure(int rows) {
  TileConfig config;
  std::memset(&config, 0, sizeof config);
  config.palette = 1;
  const int upper = rows < kTileRows ? rows : kTileRows, lower = rows - upper;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kTileBytes;
    config.rows[tile] = kTileRows;
  }
  for (const int tile : {0, 1, 4}) config.rows[tile] = static_cast<uint8_t>(upper);
  for (const int tile : {2, 3, 5}) config.rows[tile] = static_cast<uint8_t>(lower > 0 ? lower : kTileRows);
  load_tile_config(config);
}

// A step of depth into the sums: 2 x 2 tiles of C, or the upper two. Strides are in bytes.
template <bool kLower, bool kStreamA, bool kStreamB>
[[gnu::always_inline]] inline void tile_step(const bf16* a_upper, const bf16* a_lower, int64_t a_stride,
                                             const bf16* b_left, const bf16* b_right, int64_t b_stride) {
  if constexpr (kStreamA)
    TROUPE_TILE_STREAM(4, a_upper, a_stride);
  else
    TROUPE_TILE_LOAD(4, a_upper, a_stride);
  if constexpr (kStreamB) {
    TROUPE_TILE_STREAM(6, b_left, b_stride);
    TROUPE_TILE_STREAM(7, b_right, b_stride);
  } else {
    TROUPE_TILE_LOAD(6, b_left, b_stride);
    TROUPE_TILE_LOAD(7, b_right, b_stride);
  }
  TROUPE_TILE_MULTIPLY(0, 4, 6);
  TROUPE_TILE_MULTIPLY(1, 4, 7);
  if constexpr (kLower) {
    if constexpr (kStreamA)
      TROUPE_TILE_STREAM(5, a_lower, a_stride);
    else
      TROUPE_TILE_LOAD(5, a_lower, a_stride);
    TROUPE_TILE_MULTIPLY(2, 5, 6);
    TROUPE_TILE_MULTIPLY(3, 5, 7);
  }
}

// The sums of a block of C, 32 columns whose rows are `ldc` floats apart: zero or as they are there, and back.
[[gnu::always_inline]] inline void begin_sums(const float* c, int64_t ldc, bool lower, bool add) {
  const int64_t stride = ldc * static_cast<int64_t>(sizeof(float));
  if (!add) {
    TROUPE_TILE_ZERO(0);
    TROUPE_TILE_ZERO(1);
    TROUPE_TILE_ZERO(2);
    TROUPE_TILE_ZERO(3);
    return;
  }
  TROUPE_TILE_LOAD(0, c, stride);
  TROUPE_TILE_LOAD(1, c + 16, stride);
  if (!lower) return;
  TROUPE_TILE_LOAD(2, c + kTileRows * ldc, stride);
  TROUPE_TILE_LOAD(3, c + kTileRows * ldc + 16, stride);
}

[[gnu::always_inline]] inline void store_sums(float* c, int64_t ldc, bool lower) {
  const int64_t stride = ldc * static_cast<int64_t>(sizeof(float));
  TROUPE_TILE_STORE(0, c, stride);
  TROUPE_TILE_STORE(1, c + 16, stride);
  if (!lower) return;
  TROUPE_TILE_STORE(2, c + kTileRows * ldc, stride);
  TROUPE_TILE_STORE(3, c + kTileRows * ldc + 16, stride);
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
