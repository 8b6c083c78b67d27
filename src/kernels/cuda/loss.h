// Scores and gradients from a block of logits (ops/loss.h): a block a token.
#pragma once

#include <cmath>
#include <type_traits>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// 1,024, one block a multiprocessor whose row would stay in the L2 cache, took 1.03 ms instead of 0.90 on an H200.
constexpr int kLossThreads = 256;
constexpr int kFoursOfPiece = 4;  // that a thread has on their way
constexpr int64_t kLossPiece = 4 * kFoursOfPiece * kLossThreads;

// The fours of a thread of the row's piece from column `first` on: piece[k] begins at column first_of_four(). What is
// not there is `missing`.
using Fours = float[kFoursOfPiece][4];
TROUPE_KERNEL int64_t first_of_four(int64_t first, int k, int thread) {
  return first + 4 * (k * kLossThreads + thread);
}
TROUPE_KERNEL void load_four_or(const float* row, int64_t V, int64_t v, float missing, float (&four)[4]) {
  const int count = four_at(v, V);
  load_four(row + v, count, four);
  for (int i = 0; i < 4; ++i)
    if (i >= count) four[i] = missing;
}
TROUPE_KERNEL void load_piece(const float* row, int64_t V, int64_t first, int thread, float missing, Fours& piece) {
  if (first + kLossPiece <= V && reinterpret_cast<uintptr_t>(row) % 16 == 0) {
    for (int k = 0; k < kFoursOfPiece; ++k) load_whole(row + first_of_four(first, k, thread), piece[k]);
    return;
  }
  for (int k = 0; k < kFoursOfPiece; ++k)
    load_four_or(row, V, first_of_four(first, k, thread), missing, piece[k]);
}

// The first columns of a row, which fit into the shared memory of a block beside as many other blocks as its registers
// allow: who reads the row again has them from there, where each thread finds what it left itself.
constexpr int64_t kKeptColumns = 11 * 4 * kLossThreads;
struct alignas(16) KeptColumns {
  float values[kKeptColumns];
};

TROUPE_KERNEL void keep_piece(KeptColumns& kept, int64_t first, int thread, const Fours& piece) {
  for (int k = 0; k < kFoursOfPiece; ++k)
    if (const int64_t v = first_of_four(first, k, thread); v < kKeptColumns) store_whole(kept.values + v, piece[k]);
}
TROUPE_KERNEL void load_kept_piece(const KeptColumns& kept, const float* row, int64_t V, int64_t first, int thread,
                                   float missing, Fours& piece) {
  if (first >= kKeptColumns) return load_piece(row, V, first, thread, missing, piece);
  for (int k = 0; k < kFoursOfPiece; ++k) {
    const int64_t v = first_of_four(first, k, thread);
    if (v < kKeptColumns)
      load_whole(kept.values + v, piece[k]);
    else
      load_four_or(row, V, v, missing, piece[k]);
  }
}

// exp(x - from): for gradients in bf16 in two instructions, within 2^-22 + |from| 2^-24 of it, as `from` is rounded,
// too, and 0 for less than 2^-126.
template <class operand>
TROUPE_KERNEL float exp_from(float from, float x) {
  if constexpr (std::is_same_v<operand, bf16>) return quick::exp2(fmaf(x, quick::kLog2E, -from * quick::kLog2E));
  return expf(x - from);
}

// log sum_v exp(l_v), in one pass: a thread's sum is of exp(l_v - its largest so far). What it reads it keeps, if `kept`
// is not nullptr.
template <class operand>
TROUPE_KERNEL float log_sum_exp(const Block<kLossThreads>& block, const float* logits, int64_t V, float& largest,
                                KeptColumns* kept = nullptr) {
  PerThread<float, kLossThreads> max_of, part;
  block.each([&](int thread) {
    float max = -INFINITY, sum = 0.0f;
    for (int64_t first = 0; first < V; first += kLossPiece) {
      Fours piece;
      load_piece(logits, V, first, thread, -INFINITY, piece);
      if (kept) keep_piece(*kept, first, thread, piece);
      float piece_max = max;
      for (int k = 0; k < kFoursOfPiece; ++k)
        for (int i = 0; i < 4; ++i) piece_max = fmaxf(piece_max, piece[k][i]);
      const float from = piece_max == -INFINITY ? 0.0f : piece_max;
      sum *= exp_from<operand>(from, max);
      max = piece_max;
      for (int k = 0; k < kFoursOfPiece; ++k)
        for (int i = 0; i < 4; ++i) sum += exp_from<operand>(from, piece[k][i]);
    }
    max_of[thread] = max;
    part[thread] = sum;
  });
  const float max = largest = block.max(max_of), from = max == -INFINITY ? 0.0f : max;
  block.each([&](int thread) { part[thread] *= exp_from<operand>(from, max_of[thread]); });
  return max + logf(block.sum(part));
}

struct ScoreKernel {
  static constexpr int kThreads = kLossThreads;
  using Shared = NoShared;

  View<const float> logits;
  const int32_t* targets;
  float* nll;
  int32_t* argmax;  // or nullptr

  int64_t blocks() const { return logits.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), V = logits.cols;
    const float* const row = logits.row(t);
    const int32_t target = targets[t];
    float largest;
    const float lse = log_sum_exp<float>(block, row, V, largest);
    PerThread<int64_t, kThreads> best;
    block.each([&](int thread) {
      best[thread] = V - 1;
      for (int64_t v = thread; argmax && v < V; v += kThreads)
        if (row[v] == largest && v < best[thread]) best[thread] = v;
    });
    const int64_t first = block.min(best);
    block.each([&](int thread) {
      if (thread != 0) return;
      nll[t] = target < 0 ? 0.0f : lse - row[target];
      if (argmax) argmax[t] = static_cast<int32_t>(first);
    });
  }
};

// l = cap tanh(l / cap)
struct SoftCapKernel {
  static constexpr int kThreads = kElementThreads;
  using Shared = NoShared;

  View<float> logits;
  float cap;

  int64_t blocks() const { return blocks_of(logits.rows * logits.cols, kElementsPerBlock); }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    each_element(block, logits.rows * logits.cols, [&](int64_t i) {
      float& logit = logits(i / logits.cols, i % logits.cols);
      logit = cap * tanhf(logit / cap);
    });
  }
};

// The gradient takes the place of the logits: it fills the front of the row that it is made from, which is read, piece
// by piece, ahead of what is written.
template <class operand>
struct ScoreWithGradientKernel {
  static constexpr int kThreads = kLossThreads, kBlocksAtOnce = 5;
  using Shared = KeptColumns;

  View<float> logits;
  int64_t width;  // of the gradient, whose columns beyond those of the logits are 0
  const int32_t* targets;
  float* nll;
  float* lse;                          // of scored tokens, else 0
  float divisor, inverse_cap, z_loss;  // inverse_cap: 0 without a cap

  int64_t blocks() const { return logits.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared& kept) const {
    const int64_t t = block.index(), V = logits.cols;
    const float* const row = logits.row(t);
    const int32_t target = targets[t];
    const float at_target = target < 0 ? 0.0f : row[target];
    float largest;
    const float sum = log_sum_exp<operand>(block, row, V, largest, &kept), factor = 1.0f / divisor;
    const OfToken token{target, sum, (1.0f + 2.0f * z_loss * sum) * factor, factor};
    // The gradient of columns [begin, 2 begin) goes to where columns [begin / 2, begin) were, which all threads have
    // read by then; that of the first piece to where the piece itself is.
    PerThread<Fours, kThreads> piece;
    block.each([&](int thread) { load(kept, t, 0, thread, token, piece[thread]); });
    block.each([&](int thread) { store(t, 0, thread, piece[thread]); });
    for (int64_t begin = kLossPiece; begin < width; begin *= 2)
      block.each([&](int thread) {
        for (int64_t first = begin; first < 2 * begin && first < width; first += kLossPiece) {
          Fours gradient;
          load(kept, t, first, thread, token, gradient);
          store(t, first, thread, gradient);
        }
      });
    block.each([&](int thread) {
      if (thread != 0) return;
      nll[t] = target < 0 ? 0.0f : sum - at_target;
      lse[t] = target < 0 ? 0.0f : sum;
    });
  }

 private:
  struct OfToken {
    int64_t target;
    float lse, scale, factor;  // a logit's gradient is exp(l - lse) scale, less factor for the target
  };
  // The gradient of a thread's logits in a piece.
  TROUPE_KERNEL void load(const KeptColumns& kept, int64_t t, int64_t first, int thread, const OfToken& token,
                          Fours& piece) const {
    load_kept_piece(kept, logits.row(t), logits.cols, first, thread, -INFINITY, piece);
    for (int k = 0; k < kFoursOfPiece; ++k) {
      const int64_t v = first_of_four(first, k, thread);
      float(&four)[4] = piece[k];
      float slope[4] = {1.0f, 1.0f, 1.0f, 1.0f};
      if (inverse_cap != 0.0f)
        for (int i = 0; i < 4; ++i) {
          const float share = v + i < logits.cols ? four[i] * inverse_cap : 1.0f;  // d tanh = 1 - tanh^2
          slope[i] = 1.0f - share * share;
        }
      for (int i = 0; i < 4; ++i) four[i] = exp_from<operand>(token.lse, four[i]) * token.scale;
      if (static_cast<uint64_t>(token.target - v) < 4)
        for (int i = 0; i < 4; ++i)
          if (v + i == token.target) four[i] -= token.factor;
      if (inverse_cap != 0.0f)
        for (int i = 0; i < 4; ++i) four[i] *= slope[i];
      if (token.target < 0)
        for (int i = 0; i < 4; ++i) four[i] = 0.0f;
    }
  }
  TROUPE_KERNEL void store(int64_t t, int64_t first, int thread, const Fours& piece) const {
    operand* const gradient = reinterpret_cast<operand*>(logits.row(t));
    const bool whole = first + kLossPiece <= width && reinterpret_cast<uintptr_t>(gradient) % 16 == 0;
    for (int k = 0; k < kFoursOfPiece; ++k) {
      const int64_t v = first_of_four(first, k, thread);
      if (whole)
        store_whole(gradient + v, piece[k]);
      else
        store_four(gradient + v, four_at(v, width), piece[k]);
    }
  }
};

}  // namespace troupe::cuda
