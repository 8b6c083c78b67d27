// Scores and gradients from a block of logits (ops/loss.h): a block a token.
#pragma once

#include <cmath>

#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// 1,024, one block a multiprocessor whose row would stay in the L2 cache, took 1.03 ms instead of 0.90 on an H200.
constexpr int kLossThreads = 256;

// log sum_v exp(l_v), in one pass: a thread's sum is of exp(l_v - its largest so far).
TROUPE_KERNEL float log_sum_exp(const Block<kLossThreads>& block, const float* logits, int64_t V, float& largest) {
  constexpr int kFours = 4;  // that a thread has on their way
  PerThread<float, kLossThreads> max_of, part;
  block.each([&](int thread) {
    float max = -INFINITY, sum = 0.0f;
    for (int64_t first = 4 * thread; first < V; first += 4 * kFours * kLossThreads) {
      float piece[kFours][4], piece_max = max;
      for (int k = 0; k < kFours; ++k) {
        const int64_t v = first + 4 * k * kLossThreads;
        const int count = four_at(v, V);
        load_four(logits + v, count, piece[k]);
        for (int i = 0; i < 4; ++i) {
          if (i >= count) piece[k][i] = -INFINITY;
          if (piece[k][i] > piece_max) piece_max = piece[k][i];
        }
      }
      if (piece_max > max && max != -INFINITY) sum *= expf(max - piece_max);
      max = piece_max;
      for (int k = 0; k < kFours; ++k)
        for (int i = 0; i < 4; ++i)
          if (piece[k][i] != -INFINITY) sum += expf(piece[k][i] - max);
    }
    max_of[thread] = max;
    part[thread] = sum;
  });
  const float max = largest = block.max(max_of);
  block.each([&](int thread) {
    if (max_of[thread] != -INFINITY) part[thread] *= expf(max_of[thread] - max);
  });
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
    const float lse = log_sum_exp(block, row, V, largest);
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
  static constexpr int kThreads = kLossThreads, kFours = 4;
  using Shared = NoShared;

  View<float> logits;
  int64_t width;  // of the gradient, whose columns beyond those of the logits are 0
  const int32_t* targets;
  float* nll;
  float* lse;                          // of scored tokens, else 0
  float divisor, inverse_cap, z_loss;  // inverse_cap: 0 without a cap

  int64_t blocks() const { return logits.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), V = logits.cols;
    const float* const row = logits.row(t);
    operand* const gradient = reinterpret_cast<operand*>(logits.row(t));
    const int32_t target = targets[t];
    const float at_target = target < 0 ? 0.0f : row[target];
    float largest;
    const float sum = log_sum_exp(block, row, V, largest), gain = 1.0f + 2.0f * z_loss * sum;
    const float factor = 1.0f / divisor;
    PerThread<float[kFours][4], kThreads> piece;
    for (int64_t first = 0; first < width; first += 4 * kFours * kThreads) {
      block.each([&](int thread) {
        for (int k = 0; k < kFours; ++k) {
          const int64_t v = first + 4 * (k * kThreads + thread);
          const int count = target < 0 ? 0 : four_at(v, V);
          float(&four)[4] = piece[thread][k];
          load_four(row + v, count, four);
          for (int i = 0; i < 4; ++i) {
            const float share = four[i] * inverse_cap;  // d tanh = 1 - tanh^2
            const float of_logit = expf(four[i] - sum) * gain - (v + i == target ? 1.0f : 0.0f);
            four[i] = i < count ? of_logit * (1.0f - share * share) * factor : 0.0f;
          }
        }
      });
      block.each([&](int thread) {
        for (int k = 0; k < kFours; ++k) {
          const int64_t v = first + 4 * (k * kThreads + thread);
          store_four(gradient + v, four_at(v, width), piece[thread][k]);
        }
      });
    }
    block.each([&](int thread) {
      if (thread != 0) return;
      nll[t] = target < 0 ? 0.0f : sum - at_target;
      lse[t] = target < 0 ? 0.0f : sum;
    });
  }
};

}  // namespace troupe::cuda
