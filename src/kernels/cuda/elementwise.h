// Passes over elements (ops/elementwise.h, ops/gate.h, ops/rotary.h).
#pragma once

#include "kernels/activation.h"
#include "kernels/cuda/activation.h"
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

template <class operand>
struct DropoutBackwardKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<const float> dx;
  Dropout dropout;
  View<operand> dy;

  int64_t blocks() const { return blocks_of(dx.rows * dx.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, dx.rows * dx.cols, [&](int64_t i) {
      const int64_t t = i / dx.cols, d = i % dx.cols;
      dy(t, d) = static_cast<operand>(dx(t, d) * dropout.scale(t, d, dx.cols));
    });
  }
};

struct AddKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<const float> a, b;
  View<float> out;  // may be a or b

  int64_t blocks() const { return blocks_of(out.rows * out.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, out.rows * out.cols, [&](int64_t i) {
      out(i / out.cols, i % out.cols) = a(i / out.cols, i % out.cols) + b(i / out.cols, i % out.cols);
    });
  }
};

// The gated feed-forward network (ops/gate.h).
template <class operand>
struct GateForwardKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  Activation activation;
  View<const operand> z;
  View<operand> hidden;

  int64_t blocks() const { return blocks_of(hidden.rows * hidden.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t F = hidden.cols;
    each_element(block, hidden.rows * F, [&](int64_t i) {
      const int64_t r = i / F, f = i % F;
      hidden(r, f) =
          static_cast<operand>(activate(activation, static_cast<float>(z(r, f))) * static_cast<float>(z(r, F + f)));
    });
  }
};

template <class operand>
struct GateBackwardKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  Activation activation;
  View<const operand> z, dhidden;
  View<operand> dz;

  int64_t blocks() const { return blocks_of(dhidden.rows * dhidden.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t F = dhidden.cols;
    each_element(block, dhidden.rows * F, [&](int64_t i) {
      const int64_t r = i / F, f = i % F;
      const auto a = static_cast<float>(z(r, f)), b = static_cast<float>(z(r, F + f));
      const auto dh = static_cast<float>(dhidden(r, f));
      dz(r, f) = static_cast<operand>(dh * b * activation_derivative(activation, a));
      dz(r, F + f) = static_cast<operand>(dh * activate(activation, a));
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

// The bf16 copy of weights that products read.
struct RoundKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  const float* src;
  bf16* dst;
  int64_t count;

  int64_t blocks() const { return blocks_of(count, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, count, [&](int64_t i) { dst[i] = static_cast<bf16>(src[i]); });
  }
};

}  // namespace troupe::cuda
