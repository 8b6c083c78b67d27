// Products of tiles by tensor cores, in the manner of grid.h: on a GPU the instruction, in the emulated grid what it
// does. A tile lies in the registers of a warp. What a thread has of it follows from its lane (PTX, mma.m16n8k16):
//   TileA  [16, 16] bf16   word r: row lane / 4 + 8 (r % 2), columns 2 (lane % 4) + 8 (r / 2) and the next
//   TileB  [16, 8] bf16    word r: column lane / 4, rows 2 (lane % 4) + 8 r and the next
//   TileC  [16, 8] float   value r: row lane / 4 + 8 (r / 2), column 2 (lane % 4) + r % 2
// Tiles in shared memory are rows of uint16_t, at distances of an odd multiple of 16 bytes, so that the eight rows that
// an instruction reads at once lie in different banks.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

struct TileA {
  uint32_t words[4];
};
struct TileB {
  uint32_t words[2];
};
struct TileC {
  float values[4];
};

// The places in a TileC of a thread.
TROUPE_KERNEL int tile_row(int thread, int r) { return thread % kWarp / 4 + 8 * (r / 2); }
TROUPE_KERNEL int tile_column(int thread, int r) { return thread % 4 * 2 + r % 2; }

// A phase without a barrier: no thread touches what another one writes or has written since the last barrier.
template <class Block, class Body>
TROUPE_KERNEL void each_alone(const Block& block, const Body& body) {
#ifdef __CUDACC__
  static_cast<void>(block);
  body(static_cast<int>(threadIdx.x));
#else
  block.each(body);
#endif
}

TROUPE_KERNEL uint32_t pack_bf16(float low, float high) {
#ifdef __CUDACC__
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return bf16(low).bits | static_cast<uint32_t>(bf16(high).bits) << 16;
#endif
}

TROUPE_KERNEL float float_of_bits(uint32_t bits) {
#ifdef __CUDACC__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
TROUPE_KERNEL float low_of(uint32_t pair) { return float_of_bits(pair << 16); }
TROUPE_KERNEL float high_of(uint32_t pair) { return float_of_bits(pair & 0xFFFF0000u); }

// Two TileC beside each other, rounded, as a factor of the next product.
TROUPE_KERNEL TileA as_factor(const TileC& left, const TileC& right) {
  return {pack_bf16(left.values[0], left.values[1]), pack_bf16(left.values[2], left.values[3]),
          pack_bf16(right.values[0], right.values[1]), pack_bf16(right.values[2], right.values[3])};
}

// Two elements, the first at a multiple of 4 bytes.
TROUPE_KERNEL uint32_t load_pair(const bf16* from) {
#ifdef __CUDACC__
  return *reinterpret_cast<const uint32_t*>(from);
#else
  uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
#endif
}
TROUPE_KERNEL void store_pair(bf16* to, uint32_t word) {
#ifdef __CUDACC__
  *reinterpret_cast<uint32_t*>(to) = word;
#else
  std::memcpy(static_cast<void*>(to), &word, sizeof word);
#endif
}

// Columns [first, first + 16) of rows `row` and `row` + 8 of a matrix in global memory as this thread has them of a
// TileA; zeros for a row that is not there and for columns from `columns` on.
TROUPE_KERNEL TileA load_a(int thread, const bf16* row, bool is_there, const bf16* row_8, bool is_there_8,
                           int64_t first, int64_t columns) {
  TileA tile;
  for (int r = 0; r < 4; ++r) {
    const int64_t column = first + thread % 4 * 2 + r / 2 * 8;
    const bool exists = (r % 2 ? is_there_8 : is_there) && column < columns;
    tile.words[r] = exists ? load_pair((r % 2 ? row_8 : row) + column) : 0;
  }
  return tile;
}

#ifdef __CUDACC__
// Four matrices [8, 8] of [16, 16] in shared memory, spread over a warp: left, then right, each above, then below
// (kAcross: above, then below, each left, then right).
template <bool kAcross, bool kTransposed, int kStride>
TROUPE_KERNEL void load_matrices(int thread, const uint16_t* from, uint32_t& first, uint32_t& second, uint32_t& third,
                                 uint32_t& fourth) {
  const int lane = thread % kWarp, part = lane / 8;
  const int row = lane % 8 + 8 * (kAcross ? part / 2 : part % 2), column = 8 * (kAcross ? part % 2 : part / 2);
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(from + row * kStride + column));
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(first), "=r"(second), "=r"(third), "=r"(fourth)
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(first), "=r"(second), "=r"(third), "=r"(fourth)
                 : "r"(at)
                 : "memory");
}
#else
template <bool kAcross, int kStride>
uint32_t element_of(const uint16_t* from, int row, int column) {
  return kAcross ? from[column * kStride + row] : from[row * kStride + column];
}
#endif

// A TileA from shared memory, whose rows are its (kAcross: its columns): [16, 16] from there on.
template <bool kAcross, int kStride>
TROUPE_KERNEL void load_a(int thread, const uint16_t* from, TileA& tile) {
  uint32_t(&words)[4] = tile.words;
#ifdef __CUDACC__
  load_matrices<kAcross, kAcross, kStride>(thread, from, words[0], words[1], words[2], words[3]);
#else
  const int lane = thread % kWarp;
  for (int r = 0; r < 4; ++r) {
    const int row = lane / 4 + 8 * (r % 2), column = lane % 4 * 2 + 8 * (r / 2);
    words[r] = element_of<kAcross, kStride>(from, row, column) | element_of<kAcross, kStride>(from, row, column + 1)
                                                                     << 16;
  }
#endif
}

// Two TileB from shared memory, whose rows are theirs (kAcross: their columns): [16, 16] from there on, left and right.
template <bool kAcross, int kStride>
TROUPE_KERNEL void load_b(int thread, const uint16_t* from, TileB (&pair)[2]) {
#ifdef __CUDACC__
  load_matrices<kAcross, !kAcross, kStride>(thread, from, pair[0].words[0], pair[0].words[1], pair[1].words[0],
                                            pair[1].words[1]);
#else
  const int lane = thread % kWarp;
  for (int n = 0; n < 2; ++n)
    for (int r = 0; r < 2; ++r) {
      const int row = lane % 4 * 2 + 8 * r, column = 8 * n + lane / 4;
      pair[n].words[r] =
          element_of<kAcross, kStride>(from, row, column) | element_of<kAcross, kStride>(from, row + 1, column) << 16;
    }
#endif
}

// c += a b in every warp of the block; c, a and b give a thread's part.
template <class Block, class OfC, class OfA, class OfB>
TROUPE_KERNEL void multiply_add(const Block&, const OfC& c, const OfA& a, const OfB& b) {
#ifdef __CUDACC__
  const int thread = static_cast<int>(threadIdx.x);
  TileC& sum = c(thread);
  const TileA& left = a(thread);
  const TileB& right = b(thread);
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sum.values[0]), "+f"(sum.values[1]), "+f"(sum.values[2]), "+f"(sum.values[3])
      : "r"(left.words[0]), "r"(left.words[1]), "r"(left.words[2]), "r"(left.words[3]), "r"(right.words[0]),
        "r"(right.words[1]));
#else
  for (int first = 0; first < Block::kThreads; first += kWarp) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < kWarp; ++lane) {
      for (int r = 0; r < 4; ++r) {
        const uint32_t word = a(first + lane).words[r];
        float* const at = &left[lane / 4 + 8 * (r % 2)][lane % 4 * 2 + 8 * (r / 2)];
        at[0] = low_of(word), at[1] = high_of(word);
      }
      for (int r = 0; r < 2; ++r) {
        const uint32_t word = b(first + lane).words[r];
        const int row = lane % 4 * 2 + 8 * r;
        right[row][lane / 4] = low_of(word), right[row + 1][lane / 4] = high_of(word);
      }
    }
    for (int lane = 0; lane < kWarp; ++lane)
      for (int r = 0; r < 4; ++r) {
        float sum = c(first + lane).values[r];
        for (int k = 0; k < 16; ++k) sum += left[tile_row(lane, r)][k] * right[k][tile_column(lane, r)];
        c(first + lane).values[r] = sum;
      }
  }
#endif
}

// Over the four threads that have parts of the same rows of a TileC; each gets it.
template <class Block, class Of, class Op>
TROUPE_KERNEL void reduce_rows(const Block&, const Of& of, Op op) {
#ifdef __CUDACC__
  float& value = of(static_cast<int>(threadIdx.x));
  value = op(value, __shfl_xor_sync(0xFFFFFFFFu, value, 1));
  value = op(value, __shfl_xor_sync(0xFFFFFFFFu, value, 2));
#else
  for (int first = 0; first < Block::kThreads; first += 4) {
    const float all = op(op(of(first), of(first + 1)), op(of(first + 2), of(first + 3)));
    for (int thread = first; thread < first + 4; ++thread) of(thread) = all;
  }
#endif
}

// 16 bytes from global to shared memory, zeros if they are not there; there after wait_for_copies() and a barrier.
TROUPE_KERNEL void start_copy(uint16_t* to, const bf16* from, bool is_there) {
#ifdef __CUDACC__
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
      "l"(from), "r"(is_there ? 16 : 0)
      : "memory");
#else
  if (is_there)
    std::memcpy(to, from, 16);
  else
    std::memset(to, 0, 16);
#endif
}
TROUPE_KERNEL void wait_for_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace troupe::cuda
