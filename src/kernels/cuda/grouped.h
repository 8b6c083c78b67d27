// The products of ops/linear.h in bf16 on tensor cores, those of all experts in one launch: a block has 128 x 128
// results of one expert and takes their depth 32 at a time, the next 32 on their way while those are used. Where an
// expert's rows begin and end is read on the device. Rows of factors begin at multiples of 16 bytes and have multiples
// of 8 elements.
#pragma once

#include "kernels/cuda/fours.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/tiles.h"

namespace troupe::cuda {

constexpr int kGroupedThreads = 256, kGroupedTile = 128, kGroupedDepth = 32;

// Where a block takes a factor from: zeros beyond `rows` and `cols`.
struct TileSource {
  const bf16* data;
  int64_t stride, rows, cols;
};

// A factor's tile in shared memory. kAlongDepth: as 128 rows along the depth, else as rows of 128, one a step of depth.
template <bool kAlongDepth>
struct FactorTile {
  static constexpr int kRows = kAlongDepth ? kGroupedTile : kGroupedDepth;
  static constexpr int kCols = kAlongDepth ? kGroupedDepth : kGroupedTile;
  static constexpr int kStride = kCols + 8;

  uint16_t rows[kRows][kStride];

  // From step `first` of the depth on.
  TROUPE_KERNEL void start(int thread, const TileSource& source, int64_t first) {
    const int64_t row0 = kAlongDepth ? 0 : first, col0 = kAlongDepth ? first : 0;
#pragma unroll
    for (int at = thread; at < kRows * kCols / 8; at += kGroupedThreads) {
      const int64_t row = row0 + at / (kCols / 8), col = col0 + at % (kCols / 8) * 8;
      const bool is_there = row < source.rows && col < source.cols;
      start_copy(&rows[at / (kCols / 8)][at % (kCols / 8) * 8],
                 is_there ? source.data + row * source.stride + col : source.data, is_there);
    }
  }
  // What is at `index` of the 128 and `depth` of the 32.
  TROUPE_KERNEL const uint16_t* at(int index, int depth) const {
    return kAlongDepth ? &rows[index][depth] : &rows[depth][index];
  }
};

template <bool kAAlongDepth, bool kBAlongDepth>
struct GroupedProduct {
  static constexpr int kThreads = kGroupedThreads;
  static constexpr int kWarpRows = 64, kWarpCols = 32;  // of the results a warp has
  static constexpr int kM = kWarpRows / 16, kN = kWarpCols / 8, kWarpsAcross = kGroupedTile / kWarpCols;
  static constexpr int kSlab = 32, kSlabStride = kGroupedTile + 8;  // results on their way out
  using TileOfA = FactorTile<kAAlongDepth>;
  using TileOfB = FactorTile<kBAlongDepth>;
  using Sums = PerThread<TileC[kM][kN], kThreads>;

  struct Stage {
    TileOfA a;
    TileOfB b;
  };
  union alignas(16) Shared {
    Stage stages[2];
    float slab[kSlab][kSlabStride];
    float columns[kThreads];
  };

  // sums = A B over `depth`; each_stage(a) for every tile of A while it is there.
  template <class EachStage>
  static TROUPE_KERNEL void multiply(const Block<kThreads>& block, Shared& shared, const TileSource& a,
                                     const TileSource& b, int64_t depth, Sums& sums, const EachStage& each_stage) {
    each_alone(block, [&](int thread) {
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kN; ++n) sums[thread][m][n] = {};
      shared.stages[0].a.start(thread, a, 0);
      shared.stages[0].b.start(thread, b, 0);
    });
    int now = 0;
    for (int64_t first = 0; first < depth; first += kGroupedDepth, now ^= 1) {
      block.each([&](int) { wait_for_copies(); });
      each_alone(block, [&](int thread) {
        if (first + kGroupedDepth >= depth) return;
        shared.stages[now ^ 1].a.start(thread, a, first + kGroupedDepth);
        shared.stages[now ^ 1].b.start(thread, b, first + kGroupedDepth);
      });
      const Stage& stage = shared.stages[now];
      each_stage(stage.a);
#pragma unroll
      for (int step = 0; step < kGroupedDepth; step += 16) add_products(block, stage, step, sums);
    }
    block.each([](int) {});  // what is in shared memory has been used
  }

  // store(i, j, count, values) for four neighbouring results at a time, from column j on, of those in [0, rows) x
  // [0, cols).
  template <class Store>
  static TROUPE_KERNEL void each_four_sums(const Block<kThreads>& block, Shared& shared, Sums& sums, int64_t rows,
                                           int64_t cols, const Store& store) {
#pragma unroll 1  // so that there is one copy of what store does
    for (int now = 0; now < kM; ++now) {
      block.each([&](int thread) {
        const int warp = thread / kWarp, row0 = warp / kWarpsAcross * 16, col0 = warp % kWarpsAcross * kWarpCols;
#pragma unroll
        for (int m = 0; m < kM; ++m)  // sums stay in registers
          if (m == now)
#pragma unroll
            for (int n = 0; n < kN; ++n)
#pragma unroll
              for (int r = 0; r < 4; ++r)
                shared.slab[row0 + tile_row(thread, r)][col0 + n * 8 + tile_column(thread, r)] =
                    sums[thread][m][n].values[r];
      });
      block.each([&](int thread) {
#pragma unroll 1
        for (int at = thread; at < kSlab * kGroupedTile / 4; at += kThreads) {
          const int in_slab = at / (kGroupedTile / 4), j = at % (kGroupedTile / 4) * 4;
          const int i = in_slab / 16 * kWarpRows + now * 16 + in_slab % 16, count = four_at(j, cols);
          if (i >= rows || count == 0) continue;
          float values[4];
          for (int k = 0; k < 4; ++k) values[k] = shared.slab[in_slab][j + k];
          store(i, j, count, values);
        }
      });
    }
  }

 private:
  static TROUPE_KERNEL void add_products(const Block<kThreads>& block, const Stage& stage, int step, Sums& sums) {
    PerThread<TileA[kM], kThreads> left;
    PerThread<TileB[kN / 2][2], kThreads> right;
    each_alone(block, [&](int thread) {
      const int warp = thread / kWarp, row0 = warp / kWarpsAcross * kWarpRows, col0 = warp % kWarpsAcross * kWarpCols;
#pragma unroll
      for (int m = 0; m < kM; ++m)
        load_a<!kAAlongDepth, TileOfA::kStride>(thread, stage.a.at(row0 + m * 16, step), left[thread][m]);
#pragma unroll
      for (int n = 0; n < kN / 2; ++n)
        load_b<kBAlongDepth, TileOfB::kStride>(thread, stage.b.at(col0 + n * 16, step), right[thread][n]);
    });
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int n = 0; n < kN; ++n)
        multiply_add(
            block, [&](int thread) -> TileC& { return sums[thread][m][n]; },
            [&](int thread) -> const TileA& { return left[thread][m]; },
            [&](int thread) -> const TileB& { return right[thread][n / 2][n % 2]; });
  }
};

struct NoMore {
  template <class Tile>
  TROUPE_KERNEL void operator()(const Tile&) const {}
};

struct GroupedForwardKernel {
  using Product = GroupedProduct<true, true>;
  static constexpr int kThreads = Product::kThreads;
  using Shared = Product::Shared;

  View<const bf16> x;
  RowTiles tiles;
  int64_t N;
  const bf16* weight;  // [E, N, K]
  const float* bias;   // [E, N] or nullptr
  ForwardStore<bf16> store;

  int64_t blocks() const { return tiles.blocks(N, kGroupedTile, kGroupedTile); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t K = x.cols;
    int64_t expert, first, end, n0;
    tiles.find(block.index(), N, expert, first, end, n0, kGroupedTile, kGroupedTile);
    if (first == end) return;
    Product::Sums sums;
    Product::multiply(block, shared, {x.row(first), x.stride, end - first, K},
                      {weight + (expert * N + n0) * K, K, N - n0, K}, K, sums, NoMore());
    Product::each_four_sums(block, shared, sums, end - first, N - n0, [&](int i, int j, int count, float(&z)[4]) {
      if (bias) {
        float biases[4];
        load_four(bias + expert * N + n0 + j, count, biases);
        for (int k = 0; k < 4; ++k) z[k] += biases[k];
      }
      store.four(first + i, n0 + j, count, N, z);
    });
  }
};

struct GroupedBackwardInputKernel {
  using Product = GroupedProduct<true, false>;
  static constexpr int kThreads = Product::kThreads;
  using Shared = Product::Shared;

  View<const bf16> dy;
  RowTiles tiles;
  int64_t K;
  const bf16* weight;
  BackwardStore<bf16> store;

  int64_t blocks() const { return tiles.blocks(K, kGroupedTile, kGroupedTile); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t N = dy.cols;
    int64_t expert, first, end, k0;
    tiles.find(block.index(), K, expert, first, end, k0, kGroupedTile, kGroupedTile);
    if (first == end) return;
    Product::Sums sums;
    Product::multiply(block, shared, {dy.row(first), dy.stride, end - first, N},
                      {weight + expert * N * K + k0, K, N, K - k0}, N, sums, NoMore());
    Product::each_four_sums(block, shared, sums, end - first, K - k0,
                            [&](int i, int j, int count, float(&dx)[4]) { store.four(first + i, k0 + j, count, dx); });
  }
};

// And db: the blocks of the first columns add up the rows of dy that they have anyway.
struct GroupedBackwardWeightKernel {
  using Product = GroupedProduct<false, false>;
  static constexpr int kThreads = Product::kThreads, kHalves = kThreads / kGroupedTile;
  using Shared = Product::Shared;

  View<const bf16> dy, x;
  RowTiles experts;
  float *dw, *db;  // db may be nullptr

  int64_t blocks() const {
    return experts.num_experts * blocks_of(dy.cols, kGroupedTile) * blocks_of(x.cols, kGroupedTile);
  }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t N = dy.cols, K = x.cols;
    const int64_t n_tiles = (N + kGroupedTile - 1) / kGroupedTile, k_tiles = (K + kGroupedTile - 1) / kGroupedTile;
    const int64_t expert = block.index() / (n_tiles * k_tiles), tile = block.index() % (n_tiles * k_tiles);
    const int64_t n0 = tile / k_tiles * kGroupedTile, k0 = tile % k_tiles * kGroupedTile;
    const int64_t first = experts.begin(expert), rows = experts.begin(expert + 1) - first;
    if (rows == 0) return;
    const bool sums_columns = db && k0 == 0;
    Product::Sums sums;
    PerThread<float, kThreads> column;  // a half of the rows of each column n
    each_alone(block, [&](int thread) { column[thread] = 0.0f; });
    Product::multiply(block, shared, {dy.row(first) + n0, dy.stride, rows, N - n0},
                      {x.row(first) + k0, x.stride, rows, K - k0}, rows, sums, [&](const Product::TileOfA& a) {
                        if (!sums_columns) return;
                        each_alone(block, [&](int thread) {
                          const int n = thread % kGroupedTile, half = thread / kGroupedTile;
                          for (int r = half; r < kGroupedDepth; r += kHalves) column[thread] += low_of(a.rows[r][n]);
                        });
                      });
    float* const out = dw + expert * N * K;
    Product::each_four_sums(block, shared, sums, N - n0, K - k0, [&](int i, int j, int count, float(&sum)[4]) {
      float* const at = out + (n0 + i) * K + k0 + j;
      float before[4];
      load_four(at, count, before);
      for (int k = 0; k < 4; ++k) sum[k] += before[k];
      store_four(at, count, sum);
    });
    if (!sums_columns) return;
    block.each([&](int thread) { shared.columns[thread] = column[thread]; });
    block.each([&](int thread) {
      if (thread >= kGroupedTile || n0 + thread >= N) return;
      float sum = 0.0f;
      for (int half = 0; half < kHalves; ++half) sum += shared.columns[half * kGroupedTile + thread];
      db[expert * N + n0 + thread] += sum;
    });
  }
};

}  // namespace troupe::cuda
