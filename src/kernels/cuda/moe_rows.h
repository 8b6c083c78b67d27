// Rows between tokens and experts (ops/moe_rows.h): a block a token, which reads once what its rows share.
#pragma once

#include <cmath>

#include "kernels/cuda/fours.h"
#include "kernels/cuda/grid.h"
#include "kernels/dropout.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

// What ops/route/routed.h says, in the memory of the device.
struct Rows {
  const int32_t *token_of_R, *choice_of_R, *rows_by_token, *begin_T;
  const float* weight_R;
  int64_t num_choices;

  TROUPE_KERNEL int64_t element_of(int64_t row) const { return token_of_R[row] * num_choices + choice_of_R[row]; }
};

template <class operand>
struct GatherRowsKernel {
  static constexpr int kThreads = 128, kCount = 16 / sizeof(operand);
  using Shared = NoShared;

  View<const operand> x;
  Rows rows;
  View<operand> xe;

  int64_t blocks() const { return x.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = x.cols;
    const int32_t begin = rows.begin_T[t], end = rows.begin_T[t + 1];
    if (begin == end) return;
    block.each([&](int thread) {
      for (int64_t d = kCount * thread; d < D; d += kCount * kThreads) {
        float pack[kCount];
        const int count = static_cast<int>(D - d < kCount ? D - d : kCount);
        load_pack(&x(t, d), count, pack);
        for (int32_t i = begin; i < end; ++i) store_pack(&xe(rows.rows_by_token[i], d), count, pack);
      }
    });
  }
};

struct GatherRowsBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> dxe;
  Rows rows;
  View<float> dx;

  int64_t blocks() const { return dx.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index();
    block.each([&](int thread) {
      for (int64_t d = 4 * thread; d < dx.cols; d += 4 * kThreads) {
        float sum[4], four[4];
        const int count = four_at(d, dx.cols);
        load_four(&dx(t, d), count, sum);
        for (int32_t i = rows.begin_T[t]; i < rows.begin_T[t + 1]; ++i) {
          load_four(&dxe(rows.rows_by_token[i], d), count, four);
          for (int k = 0; k < 4; ++k) sum[k] += four[k];
        }
        store_four(&dx(t, d), count, sum);
      }
    });
  }
};

struct CombineRowsKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> residual, ye;  // residual may be nullptr
  Rows rows;
  Dropout dropout;
  View<float> out;

  int64_t blocks() const { return out.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = out.cols;
    block.each([&](int thread) {
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f}, four[4];
        const int count = four_at(d, D);
        if (residual.data) load_four(&residual(t, d), count, sum);
        for (int32_t i = rows.begin_T[t]; i < rows.begin_T[t + 1]; ++i) {
          const int64_t row = rows.rows_by_token[i];
          load_four(&ye(row, d), count, four);
          for (int k = 0; k < 4; ++k)
            sum[k] += rows.weight_R[row] * (four[k] * dropout.scale(rows.element_of(row), d + k, D));
        }
        store_four(&out(t, d), count, sum);
      }
    });
  }
};

template <class operand>
struct CombineRowsBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> dout, ye;
  Rows rows;
  Dropout dropout;
  View<operand> dye;
  float* dweight_R;

  int64_t blocks() const { return dout.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index();
    for (int32_t i = rows.begin_T[t]; i < rows.begin_T[t + 1]; ++i) of_row(block, t, rows.rows_by_token[i]);
  }

 private:
  TROUPE_KERNEL void of_row(const Block<kThreads>& block, int64_t t, int64_t r) const {
    const int64_t D = dout.cols;
    const float weight = rows.weight_R[r];
    PerThread<float, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float scaled[4], four[4];
        const int count = four_at(d, D);
        load_four(&dout(t, d), count, scaled);
        load_four(&ye(r, d), count, four);
        for (int k = 0; k < 4; ++k) {
          scaled[k] *= dropout.scale(rows.element_of(r), d + k, D);
          if (k < count) part[thread] += scaled[k] * four[k];
          scaled[k] *= weight;
        }
        store_four(&dye(r, d), count, scaled);
      }
    });
    const float sum = block.sum(part);
    block.each([&](int thread) {
      if (thread == 0) dweight_R[r] = sum;
    });
  }
};

// out += dropout(s y), s = sigmoid(gate), of an expert that every token passes.
struct SharedRowsKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> y, gate;  // gate may be nullptr: s = 1
  Dropout dropout;
  View<float> out;

  int64_t blocks() const { return out.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = out.cols;
    const float s = gate.data ? 1.0f / (1.0f + expf(-gate(t, 0))) : 1.0f;
    block.each([&](int thread) {
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float sum[4], four[4];
        const int count = four_at(d, D);
        load_four(&out(t, d), count, sum);
        load_four(&y(t, d), count, four);
        for (int k = 0; k < 4; ++k) sum[k] += s * four[k] * dropout.scale(t, d + k, D);
        store_four(&out(t, d), count, sum);
      }
    });
  }
};

template <class operand>
struct SharedRowsBackwardKernel {
  static constexpr int kThreads = 128;
  using Shared = NoShared;

  View<const float> dout, y, gate;
  Dropout dropout;
  View<operand> dy;
  View<float> dgate;  // nullptr without a gate

  int64_t blocks() const { return dout.rows; }
  TROUPE_KERNEL void run(const Block<kThreads>& block, Shared&) const {
    const int64_t t = block.index(), D = dout.cols;
    const float s = gate.data ? 1.0f / (1.0f + expf(-gate(t, 0))) : 1.0f;
    PerThread<float, kThreads> part;
    block.each([&](int thread) {
      part[thread] = 0.0f;
      for (int64_t d = 4 * thread; d < D; d += 4 * kThreads) {
        float scaled[4], four[4];
        const int count = four_at(d, D);
        load_four(&dout(t, d), count, scaled);
        if (gate.data) load_four(&y(t, d), count, four);
        for (int k = 0; k < 4; ++k) {
          scaled[k] *= dropout.scale(t, d + k, D);
          if (gate.data && k < count) part[thread] += scaled[k] * four[k];
          scaled[k] *= s;
        }
        store_four(&dy(t, d), count, scaled);
      }
    });
    const float sum = block.sum(part);
    block.each([&](int thread) {
      if (thread == 0 && dgate.data) dgate(t, 0) = s * (1.0f - s) * sum;
    });
  }
};

}  // namespace troupe::cuda
