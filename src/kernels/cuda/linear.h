// The products of ops/linear.h, plainly: tiles of 64 x 64 in shared memory, every sum over its depth in order. What
// libraries refuse runs here, and what they return is finished here (ForwardStoreKernel, BackwardStoreKernel).
#pragma once

#include "kernels/activation.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "kernels/dropout.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// ForwardEpilogue (kernels/linear.h): what becomes of z, column n of row r.
template <class operand>
struct ForwardStore {
  View<operand> out_operand;
  View<float> out_real;
  Activation activation;
  View<operand> pre_activation;
  View<const float> residual;
  Dropout dropout;

  TROUPE_KERNEL void operator()(int64_t r, int64_t n, int64_t width, float z) const {
    if (pre_activation.data) pre_activation(r, n) = static_cast<operand>(z);
    float y = activate(activation, z) * dropout.scale(r, n, width);
    if (residual.data) y += residual(r, n);
    if (out_operand.data) out_operand(r, n) = static_cast<operand>(y);
    if (out_real.data) out_real(r, n) = y;
  }

  // The same for columns n to n + count.
  TROUPE_KERNEL void four(int64_t r, int64_t n, int count, int64_t width, const float (&z)[4]) const {
    if (pre_activation.data) store_four(&pre_activation(r, n), count, z);
    float y[4], before[4];
    if (residual.data) load_four(&residual(r, n), count, before);
    for (int i = 0; i < 4; ++i) {
      y[i] = activate(activation, z[i]) * dropout.scale(r, n + i, width);
      if (residual.data) y[i] += before[i];
    }
    if (out_operand.data) store_four(&out_operand(r, n), count, y);
    if (out_real.data) store_four(&out_real(r, n), count, y);
  }
};

// BackwardEpilogue.
template <class operand>
struct BackwardStore {
  View<operand> out_operand;
  View<float> out_real;
  Activation activation;
  View<const operand> pre_activation;

  TROUPE_KERNEL void operator()(int64_t r, int64_t k, float dx) const {
    if (activation != Activation::kNone)
      dx *= activation_derivative(activation, static_cast<float>(pre_activation(r, k)));
    if (out_operand.data) out_operand(r, k) = static_cast<operand>(dx);
    if (out_real.data) out_real(r, k) = dx;
  }

  TROUPE_KERNEL void four(int64_t r, int64_t k, int count, float (&dx)[4]) const {
    if (activation != Activation::kNone) {
      float pre[4];
      load_four(&pre_activation(r, k), count, pre);
      for (int i = 0; i < 4; ++i) dx[i] *= activation_derivative(activation, pre[i]);
    }
    if (out_operand.data) store_four(&out_operand(r, k), count, dx);
    if (out_real.data) store_four(&out_real(r, k), count, dx);
  }
};

constexpr int kTile = 64, kDepth = 16, kPerSide = 4;  // a thread has kPerSide x kPerSide results
constexpr int kProductThreads = kTile / kPerSide * (kTile / kPerSide);

struct ProductShared {
  float a[kDepth][kTile], b[kDepth][kTile];
};
using ProductSums = PerThread<float[kPerSide][kPerSide], kProductThreads>;

// sums = sum over k < depth of a(i, k) b(k, j), for i, j < kTile; a and b are 0 where there is nothing.
template <class A, class B>
TROUPE_KERNEL void multiply(const Block<kProductThreads>& block, ProductShared& shared, int64_t depth, const A& a,
                            const B& b, ProductSums& sums) {
  block.each([&](int thread) {
    for (int i = 0; i < kPerSide; ++i)
      for (int j = 0; j < kPerSide; ++j) sums[thread][i][j] = 0.0f;
  });
  for (int64_t first = 0; first < depth; first += kDepth) {
    block.each([&](int thread) {
      for (int at = thread; at < kTile * kDepth; at += kProductThreads) {
        const int64_t k = first + at % kDepth, l = first + at / kTile;
        shared.a[at % kDepth][at / kDepth] = k < depth ? a(at / kDepth, k) : 0.0f;
        shared.b[at / kTile][at % kTile] = l < depth ? b(l, at % kTile) : 0.0f;
      }
    });
    block.each([&](int thread) {
      const int i0 = thread / (kTile / kPerSide) * kPerSide, j0 = thread % (kTile / kPerSide) * kPerSide;
      for (int k = 0; k < kDepth; ++k)
        for (int i = 0; i < kPerSide; ++i)
          for (int j = 0; j < kPerSide; ++j) sums[thread][i][j] += shared.a[k][i0 + i] * shared.b[k][j0 + j];
    });
  }
}

// store(i, j, sum) for a thread's results
template <class Store>
TROUPE_KERNEL void each_sum(const Block<kProductThreads>& block, ProductSums& sums, const Store& store) {
  block.each([&](int thread) {
    const int i0 = thread / (kTile / kPerSide) * kPerSide, j0 = thread % (kTile / kPerSide) * kPerSide;
    for (int i = 0; i < kPerSide; ++i)
      for (int j = 0; j < kPerSide; ++j) store(i0 + i, j0 + j, sums[thread][i][j]);
  });
}

// The rows of E experts cut into tiles that end where an expert does. How many there are is known on the device alone:
// a grid has blocks of as many as there may be, and those beyond the last are empty.
struct RowTiles {
  const int64_t* offsets;     // [E + 1], on the device; nullptr: every expert has as many
  int64_t num_experts, rows;  // rows: of all experts

  TROUPE_KERNEL int64_t begin(int64_t expert) const {
    return offsets ? offsets[expert] : expert * (rows / num_experts);
  }

  // Of results with as many columns, in tiles of `high` rows and `wide` columns.
  int64_t most_tiles(int high) const { return rows == 0 ? 0 : rows / high + num_experts; }
  int64_t blocks(int64_t columns, int high = kTile, int wide = kTile) const {
    return most_tiles(high) * blocks_of(columns, wide);
  }
  TROUPE_KERNEL int64_t tiles_of(int64_t expert, int high) const {
    return (begin(expert + 1) - begin(expert) + high - 1) / high;
  }
  // The tile of a block: its expert, its rows [first, end), where first = end if there are none, and its first column.
  TROUPE_KERNEL void find(int64_t block, int64_t columns, int64_t& expert, int64_t& first, int64_t& end,
                          int64_t& column0, int high = kTile, int wide = kTile) const {
    const int64_t across = (columns + wide - 1) / wide;
    int64_t tile = block / across;
    column0 = block % across * wide, first = end = 0;
    for (expert = 0; expert < num_experts; ++expert) {
      const int64_t tiles = tiles_of(expert, high);
      if (tile < tiles) {
        const int64_t stop = begin(expert + 1);
        first = begin(expert) + tile * high;
        end = first + high < stop ? first + high : stop;
        return;
      }
      tile -= tiles;
    }
  }
};

template <class operand>
TROUPE_KERNEL float as_operand(float value) {
  return static_cast<float>(static_cast<operand>(value));
}

template <class operand>
struct LinearForwardKernel {
  static constexpr int kThreads = kProductThreads;
  using Shared = ProductShared;

  View<const operand> x;
  RowTiles tiles;
  int64_t N;
  const float *weight, *bias;  // [E, N, K]; [E, N] or nullptr
  ForwardStore<operand> store;

  int64_t blocks() const { return tiles.blocks(N); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t K = x.cols;
    int64_t expert, first, end, n0;
    tiles.find(block.index(), N, expert, first, end, n0);
    if (first == end) return;
    const float* const w = weight + expert * N * K;
    ProductSums sums;
    multiply(
        block, shared, K,
        [&](int i, int64_t k) { return first + i < end ? static_cast<float>(x(first + i, k)) : 0.0f; },
        [&](int64_t k, int j) { return n0 + j < N ? as_operand<operand>(w[(n0 + j) * K + k]) : 0.0f; }, sums);
    each_sum(block, sums, [&](int i, int j, float z) {
      if (first + i < end && n0 + j < N) store(first + i, n0 + j, N, bias ? z + bias[expert * N + n0 + j] : z);
    });
  }
};

template <class operand>
struct LinearBackwardInputKernel {
  static constexpr int kThreads = kProductThreads;
  using Shared = ProductShared;

  View<const operand> dy;
  RowTiles tiles;
  int64_t K;
  const float* weight;
  BackwardStore<operand> store;

  int64_t blocks() const { return tiles.blocks(K); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t N = dy.cols;
    int64_t expert, first, end, k0;
    tiles.find(block.index(), K, expert, first, end, k0);
    if (first == end) return;
    const float* const w = weight + expert * N * K;
    ProductSums sums;
    multiply(
        block, shared, N,
        [&](int i, int64_t n) { return first + i < end ? static_cast<float>(dy(first + i, n)) : 0.0f; },
        [&](int64_t n, int j) { return k0 + j < K ? as_operand<operand>(w[n * K + k0 + j]) : 0.0f; }, sums);
    each_sum(block, sums, [&](int i, int j, float dx) {
      if (first + i < end && k0 + j < K) store(first + i, k0 + j, dx);
    });
  }
};

template <class operand>
struct LinearBackwardWeightKernel {
  static constexpr int kThreads = kProductThreads;
  using Shared = ProductShared;

  View<const operand> dy, x;
  RowTiles experts;
  float* dw;

  int64_t blocks() const { return experts.num_experts * blocks_of(dy.cols, kTile) * blocks_of(x.cols, kTile); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& shared) const {
    const int64_t N = dy.cols, K = x.cols, n_tiles = (N + kTile - 1) / kTile, k_tiles = (K + kTile - 1) / kTile;
    const int64_t expert = block.index() / (n_tiles * k_tiles), tile = block.index() % (n_tiles * k_tiles);
    const int64_t n0 = tile / k_tiles * kTile, k0 = tile % k_tiles * kTile;
    const int64_t first = experts.begin(expert), rows = experts.begin(expert + 1) - first;
    if (rows == 0) return;
    float* const out = dw + expert * N * K;
    ProductSums sums;
    multiply(
        block, shared, rows,
        [&](int i, int64_t r) { return n0 + i < N ? static_cast<float>(dy(first + r, n0 + i)) : 0.0f; },
        [&](int64_t r, int j) { return k0 + j < K ? static_cast<float>(x(first + r, k0 + j)) : 0.0f; }, sums);
    each_sum(block, sums, [&](int i, int j, float sum) {
      if (n0 + i < N && k0 + j < K) out[(n0 + i) * K + k0 + j] += sum;
    });
  }
};

// What a library left in z, of one expert: bias and the rest of the epilogue. z may be where the result goes.
template <class operand>
struct ForwardStoreKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<const float> z;
  const float* bias;  // or nullptr
  ForwardStore<operand> store;
  int64_t first_row;  // of the epilogue's rows

  int64_t blocks() const { return blocks_of_fours(z.rows, z.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_four(block, z.rows, z.cols, [&](int64_t r, int64_t n, int count) {
      float values[4], biases[4];
      load_four(&z(r, n), count, values);
      if (bias) load_four(bias + n, count, biases);
      for (int i = 0; bias && i < 4; ++i) values[i] += biases[i];
      store.four(first_row + r, n, count, z.cols, values);
    });
  }
};

template <class operand>
struct BackwardStoreKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<const float> dx;
  BackwardStore<operand> store;
  int64_t first_row;

  int64_t blocks() const { return blocks_of_fours(dx.rows, dx.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_four(block, dx.rows, dx.cols, [&](int64_t r, int64_t k, int count) {
      float values[4];
      load_four(&dx(r, k), count, values);
      store.four(first_row + r, k, count, values);
    });
  }
};

}  // namespace troupe::cuda
