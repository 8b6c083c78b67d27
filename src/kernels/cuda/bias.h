// Gradients of biases: column sums of dy over tiles of rows that end where an expert does (RowTiles), by a pass of its
// own or by one that writes dy, then sums over the tiles of every expert.
#pragma once

#include "kernels/cuda/activation.h"
#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/parts.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// A block of `kWide` columns of a tile has packs of kCount side by side, and as many lanes as threads allow: lane l takes
// rows l, l + kLanes, ... of the tile.
template <int kWide, int kCount>
struct TileSums {
  static constexpr int kThreads = 256, kPacks = kWide / kCount, kLanes = kThreads / kPacks;
  static_assert(kThreads % kPacks == 0 && kWide <= kThreads);
  struct Shared {
    float part[kLanes][kWide];
  };

  // parts[tile, n] for the columns of the block, the lanes' sums in order.
  static TROUPE_KERNEL void store(const Block<kThreads>& block, const Shared& shared, int64_t n0, int64_t N,
                                  float* of_tile) {
    block.each([&](int thread) {
      if (thread >= kWide || n0 + thread >= N) return;
      float sum = 0.0f;
      for (int lane = 0; lane < kLanes; ++lane) sum += shared.part[lane][thread];
      of_tile[n0 + thread] = sum;
    });
  }
};

// parts[tile] = column sums of dy over the tile's rows.
template <class operand>
struct BiasPartsKernel {
  static constexpr int kHigh = 256, kWide = 128, kCount = 16 / sizeof(operand);
  using Sums = TileSums<kWide, kCount>;
  static constexpr int kThreads = Sums::kThreads;
  using Shared = typename Sums::Shared;

  View<const operand> dy;
  RowTiles tiles;
  float* parts;  // [most tiles, N]

  int64_t blocks() const { return tiles.blocks(dy.cols, kHigh, kWide); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t N = dy.cols;
    int64_t expert, first, end, n0;
    tiles.find(block.index(), N, expert, first, end, n0, kHigh, kWide);
    if (first == end) return;
    block.each([&](int thread) {
      const int lane = thread / Sums::kPacks, at = thread % Sums::kPacks * kCount;
      const int64_t left = N - n0 - at;
      const int count = static_cast<int>(left < kCount ? left : kCount);
      float sum[kCount] = {}, row[kCount];
      for (int64_t r = first + lane; count > 0 && r < end; r += Sums::kLanes) {
        load_pack(&dy(r, n0 + at), count, row);
        for (int i = 0; i < kCount; ++i) sum[i] += row[i];
      }
      for (int i = 0; i < kCount; ++i) shared.part[lane][at + i] = sum[i];
    });
    Sums::store(block, shared, n0, N, parts + block.index() / blocks_of(N, kWide) * N);
  }
};

// ActivationBackwardKernel, and parts[tile] = column sums of dz, as it is rounded, over the tile's rows.
struct ActivationBackwardSumsKernel {
  static constexpr int kHigh = 64, kWide = 256, kCount = 8;
  static constexpr int kAhead = 2;  // rows of a lane that are on their way
  using Sums = TileSums<kWide, kCount>;
  static constexpr int kThreads = Sums::kThreads, kBlocksAtOnce = 4;
  using Shared = Sums::Shared;

  Activation activation;
  View<const bf16> z, dy;
  View<bf16> dz;  // may be dy
  RowTiles tiles;
  float* parts;  // [most tiles, N]

  int64_t blocks() const { return tiles.blocks(dz.cols, kHigh, kWide); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t N = dz.cols;
    int64_t expert, first, end, n0;
    tiles.find(block.index(), N, expert, first, end, n0, kHigh, kWide);
    if (first == end) return;
    quick::with_kind(activation, [&](auto kind) {
      block.each([&](int thread) {
        const int lane = thread / Sums::kPacks, at = thread % Sums::kPacks * kCount;
        const int64_t left = N - n0 - at;
        const int count = static_cast<int>(left < kCount ? left : kCount);
        const int64_t n = n0 + at;
        float sum[kCount] = {};
        const auto derive = [&](float(&d)[kCount], const float(&a)[kCount]) {
          for (int i = 0; i < kCount; ++i) {
            d[i] = static_cast<float>(rounded<bf16>(d[i] * quick::derivative<decltype(kind)::value>(a[i])));
            sum[i] += d[i];
          }
        };
        if (count == kCount && starts_packs(z) && starts_packs(dy) && starts_packs(dz)) {
          for (int64_t row = first + lane; row < end; row += kAhead * Sums::kLanes) {
            Pack<bf16, kCount> of_dy[kAhead], of_z[kAhead];
            for (int k = 0; k < kAhead; ++k)
              if (const int64_t r = row + k * Sums::kLanes; r < end) {
                of_dy[k] = *reinterpret_cast<const Pack<bf16, kCount>*>(&dy(r, n));
                of_z[k] = *reinterpret_cast<const Pack<bf16, kCount>*>(&z(r, n));
              }
            for (int k = 0; k < kAhead; ++k)
              if (const int64_t r = row + k * Sums::kLanes; r < end) {
                float d[kCount], a[kCount];
                for (int i = 0; i < kCount; ++i)
                  d[i] = static_cast<float>(of_dy[k].values[i]), a[i] = static_cast<float>(of_z[k].values[i]);
                derive(d, a);
                store_whole(&dz(r, n), d);
              }
          }
        } else {
#pragma unroll 1
          for (int64_t r = first + lane; count > 0 && r < end; r += Sums::kLanes) {
            float d[kCount], a[kCount];
            load_pack(&dy(r, n), count, d), load_pack(&z(r, n), count, a);
            derive(d, a);
            store_pack(&dz(r, n), count, d);
          }
        }
        for (int i = 0; i < kCount; ++i) shared.part[lane][at + i] = sum[i];
      });
    });
    Sums::store(block, shared, n0, N, parts + block.index() / blocks_of(N, kWide) * N);
  }

 private:
  // Whether every row does, so that packs of it do.
  template <class T>
  static TROUPE_KERNEL bool starts_packs(const View<T>& view) {
    return reinterpret_cast<uintptr_t>(view.data) % sizeof(Pack<bf16, kCount>) == 0 && view.stride % kCount == 0;
  }
};

// db[e] += the parts of the expert's tiles.
struct AddTilePartsKernel {
  static constexpr int kThreads = kPartsThreads;
  using Shared = PartsShared;

  const float* parts;  // [most tiles, N]
  RowTiles tiles;
  int high;  // rows of a tile
  int64_t N;
  float* db;

  int64_t blocks() const { return tiles.rows == 0 ? 0 : tiles.num_experts * blocks_of(N, kPartsColumns); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t column_blocks = (N + kPartsColumns - 1) / kPartsColumns, expert = block.index() / column_blocks;
    const int64_t number = tiles.tiles_of(expert, high);
    if (number == 0) return;
    int64_t first = 0;
    for (int64_t e = 0; e < expert; ++e) first += tiles.tiles_of(e, high);
    sum_parts(block, shared, parts + first * N, number, N, block.index() % column_blocks * kPartsColumns, N,
              [&](int64_t n, float total) { db[expert * N + n] += total; });
  }
};

}  // namespace troupe::cuda
