// Passes over float32 matrices around the products of a Muon update (ops/muon.h).
#pragma once

#include <cmath>

#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "kernels/muon_step.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// What the two kernels of momentum share: matrices of `area` elements, cut into pieces.
struct MuonPieces {
  int64_t count, area, piece;  // piece: elements of a block, a multiple of 4

  TROUPE_KERNEL int64_t of_a_matrix() const { return (area + piece - 1) / piece; }
  int64_t blocks() const { return count * blocks_of(area, piece); }
  // body(i, count) for fours of the elements of a block.
  template <int kThreads, class Body>
  TROUPE_KERNEL void each_four(const Block<kThreads>& block, const Body& body) const {
    const int64_t begin = block.index() % of_a_matrix() * piece, first = block.index() / of_a_matrix() * area;
    const int64_t end = begin + piece < area ? begin + piece : area;
    block.each([&](int thread) {
      for (int64_t i = begin + 4 * thread; i < end; i += 4 * kThreads) body(thread, first + i, four_at(i, end));
    });
  }
};

// m = momentum m + share g;  u = momentum m + share g with the new m if `nesterov`, else m; squares[block] = sum of u^2
struct MuonMomentumKernel {
  static constexpr int kThreads = 256;
  using Shared = NoShared;

  MuonPieces pieces;
  float momentum, share;
  bool nesterov;
  const float* g;
  float *m, *u;
  double* squares;

  int64_t blocks() const { return pieces.blocks(); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    PerThread<double, kThreads> part;
    block.each([&](int thread) { part[thread] = 0.0; });
    pieces.each_four(block, [&](int thread, int64_t i, int count) {
      float gradient[4], now[4], moved[4];
      load_four(g + i, count, gradient);
      load_four(m + i, count, now);
      for (int k = 0; k < 4; ++k) {
        now[k] = momentum * now[k] + share * gradient[k];
        moved[k] = nesterov ? momentum * now[k] + share * gradient[k] : now[k];
        part[thread] += static_cast<double>(moved[k]) * static_cast<double>(moved[k]);  // 0 where there is none
      }
      store_four(m + i, count, now);
      store_four(u + i, count, moved);
    });
    const double sum = block.sum(part);
    block.each([&](int thread) {
      if (thread == 0) squares[block.index()] = sum;
    });
  }
};

// u = u / max(|u|, smallest)
struct MuonNormKernel {
  static constexpr int kThreads = 256;
  using Shared = NoShared;

  MuonPieces pieces;
  const double* squares;  // of MuonMomentumKernel
  float* u;

  int64_t blocks() const { return pieces.blocks(); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t parts = pieces.of_a_matrix(), first = block.index() / parts * parts;
    PerThread<double, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0;
      for (int64_t i = thread; i < parts; i += kThreads) part[thread] += squares[first + i];
    });
    const double norm = sqrt(block.sum(part)), smallest = NewtonSchulz::kSmallestNorm;
    const auto factor = static_cast<float>(1.0 / (norm > smallest ? norm : smallest));
    pieces.each_four(block, [&](int, int64_t i, int count) {
      float values[4];
      load_four(u + i, count, values);
      for (int k = 0; k < 4; ++k) values[k] *= factor;
      store_four(u + i, count, values);
    });
  }
};

// y = alpha x + beta z; y may be x or z.
struct BlendKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  float alpha;
  const float* x;
  float beta;
  const float* z;
  int64_t count;
  float* y;

  int64_t blocks() const { return blocks_of_fours(1, count); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_four(block, 1, count, [&](int64_t, int64_t i, int number) {
      float a[4], b[4];
      load_four(x + i, number, a);
      load_four(z + i, number, b);
      for (int k = 0; k < 4; ++k) a[k] = alpha * a[k] + beta * b[k];
      store_four(y + i, number, a);
    });
  }
};

// y = x rounded, and x becomes what y is.
struct RoundInPlaceKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  float* x;
  bf16* y;
  int64_t count;

  int64_t blocks() const { return blocks_of_fours(1, count); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_four(block, 1, count, [&](int64_t, int64_t i, int number) {
      float values[4];
      load_four(x + i, number, values);
      for (int k = 0; k < 4; ++k) values[k] = static_cast<float>(static_cast<bf16>(values[k]));
      store_four(x + i, number, values);
      store_four(y + i, number, values);
    });
  }
};

}  // namespace troupe::cuda
