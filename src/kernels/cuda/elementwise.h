// Passes over elements (ops/elementwise.h, ops/gate.h, ops/rotary.h).
#pragma once

#include "kernels/activation.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "kernels/dropout.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

template <class T>
struct FillKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<T> x;
  T value;

  int64_t blocks() const { return blocks_of(x.rows * x.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, x.rows * x.cols, [&](int64_t i) { x(i / x.cols, i % x.cols) = value; });
  }
};

template <class operand, class From = float>
struct DropoutBackwardKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<const From> dx;
  Dropout dropout;
  View<operand> dy;

  int64_t blocks() const { return blocks_of_map<4, 1>(dx.rows, dx.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    map_packs<4>(block, dy, {dx}, [&](int64_t t, int64_t d, float(&values)[1][4]) {
      for (int i = 0; i < 4; ++i) values[0][i] *= dropout.scale(t, d + i, dx.cols);
    });
  }
};

struct AddKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<const float> a, b;
  View<float> out;  // may be a or b

  int64_t blocks() const { return blocks_of_map<4, 2>(out.rows, out.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    map_packs<4>(block, out, {a, b}, [](int64_t, int64_t, float(&terms)[2][4]) {
      for (int i = 0; i < 4; ++i) terms[0][i] += terms[1][i];
    });
  }
};

// out = activation(z), after a product that left sums in bf16 (ops/linear.h)
struct ActivationForwardKernel {
  static constexpr int kThreads = kElementThreads, kCount = 8;
  using Shared = NoShared;

  Activation activation;
  View<const bf16> z;
  View<bf16> out;  // may be z

  int64_t blocks() const { return blocks_of_map<kCount, 1>(out.rows, out.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    quick::with_kind(activation, [&](auto kind) {
      map_packs<kCount>(block, out, {z}, [](int64_t, int64_t, float(&a)[1][kCount]) {
        for (int i = 0; i < kCount; ++i) a[0][i] = quick::activate<decltype(kind)::value>(a[0][i]);
      });
    });
  }
};

// dz = dy activation'(z)
struct ActivationBackwardKernel {
  static constexpr int kThreads = kElementThreads, kCount = 8;
  using Shared = NoShared;

  Activation activation;
  View<const bf16> z, dy;
  View<bf16> dz;  // may be dy

  int64_t blocks() const { return blocks_of_map<kCount, 2>(dz.rows, dz.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    quick::with_kind(activation, [&](auto kind) {
      map_packs<kCount>(block, dz, {dy, z}, [](int64_t, int64_t, float(&values)[2][kCount]) {
        auto& [d, a] = values;
        for (int i = 0; i < kCount; ++i) d[i] *= quick::derivative<decltype(kind)::value>(a[i]);
      });
    });
  }
};

// The gated feed-forward network (ops/gate.h).
template <class operand>
struct GateForwardKernel {
  static constexpr int kThreads = kElementThreads, kCount = 16 / sizeof(operand);
  using Shared = NoShared;

  Activation activation;
  View<const operand> z;
  View<operand> hidden;

  int64_t blocks() const { return blocks_of_packs<kCount>(hidden.rows, hidden.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t F = hidden.cols;
    quick::with_kind(activation, [&](auto kind) {
      each_pack<kCount>(block, hidden.rows, F, [&](int64_t r, int64_t f, int count) {
        float a[kCount], b[kCount];
        load_pack(&z(r, f), count, a);
        load_pack(&z(r, F + f), count, b);
        for (int i = 0; i < kCount; ++i) a[i] = quick::activate_as<operand, decltype(kind)::value>(a[i]) * b[i];
        store_pack(&hidden(r, f), count, a);
      });
    });
  }
};

template <class operand>
struct GateBackwardKernel {
  static constexpr int kThreads = kElementThreads, kCount = 16 / sizeof(operand);
  using Shared = NoShared;

  Activation activation;
  View<const operand> z, dhidden;
  View<operand> dz;

  int64_t blocks() const { return blocks_of_packs<kCount>(dhidden.rows, dhidden.cols); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t F = dhidden.cols;
    quick::with_kind(activation, [&](auto kind) {
      each_pack<kCount>(block, dhidden.rows, F, [&](int64_t r, int64_t f, int count) {
        float a[kCount], b[kCount], dh[kCount];
        load_pack(&z(r, f), count, a);
        load_pack(&z(r, F + f), count, b);
        load_pack(&dhidden(r, f), count, dh);
        for (int i = 0; i < kCount; ++i) {
          b[i] = dh[i] * b[i] * quick::derivative_as<operand, decltype(kind)::value>(a[i]);
          a[i] = dh[i] * quick::activate_as<operand, decltype(kind)::value>(a[i]);
        }
        store_pack(&dz(r, f), count, b);
        store_pack(&dz(r, F + f), count, a);
      });
    });
  }
};

// Rotary positions (ops/rotary.h), in place: a pair of columns an element.
template <class operand>
struct RotaryKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<operand> x;
  int64_t C;
  const int32_t* positions_T;
  View<const float> table;
  float direction;  // -1 on the way back

  TROUPE_KERNEL int64_t pairs_of_a_row() const { return x.cols / C * (table.cols / 2); }
  int64_t blocks() const { return C == 0 ? 0 : blocks_of(x.rows * (x.cols / C) * (table.cols / 2), kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t half = table.cols / 2;
    each_element(block, x.rows * pairs_of_a_row(), [&](int64_t i) {
      const int64_t t = i / pairs_of_a_row(), j = i % half, head = i % pairs_of_a_row() / half * C;
      const float cosine = table(positions_T[t], j), sine = direction * table(positions_T[t], half + j);
      const auto a = static_cast<float>(x(t, head + j)), b = static_cast<float>(x(t, head + half + j));
      x(t, head + j) = static_cast<operand>(a * cosine - b * sine);
      x(t, head + half + j) = static_cast<operand>(b * cosine + a * sine);
    });
  }
};

// The bf16 copy of weights that products read, and of biases.
struct RoundKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  struct Stretch {
    const float* src;
    bf16* dst;
    int64_t count;
  };
  Stretch weights, biases;

  int64_t blocks() const { return blocks_of_fours(1, weights.count) + blocks_of_fours(1, biases.count); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t of_weights = blocks_of_fours(1, weights.count);
    const bool first = block.index() < of_weights;
    const Stretch& stretch = first ? weights : biases;
    each_four(
        block, 1, stretch.count,
        [&](int64_t, int64_t i, int number) {
          float values[4];
          load_four(stretch.src + i, number, values);
          store_four(stretch.dst + i, number, values);
        },
        first ? 0 : of_weights);
  }
};

}  // namespace troupe::cuda
