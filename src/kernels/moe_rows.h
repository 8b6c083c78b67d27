// Rows between tokens and experts on the host, the same for every processor: their cost is reading and writing. Tasks
// are those of ops/moe_rows.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/threads.h"
#include "tensor/host_matrix.h"

namespace troupe::host {

inline constexpr int64_t kMoeRowChunk = 64;

template <class Task>
void gather_rows(const Task& task) {
  const HostMatrix x_TD(task.x_TD);
  const HostMatrix xe_RD(task.xe_RD);
  parallel_chunks(xe_RD.rows, kMoeRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) std::copy_n(x_TD.row(task.rows.token_of_R[r]), x_TD.cols, xe_RD.row(r));
  });
}

template <class Task>
void gather_rows_backward(const Task& task) {
  const HostMatrix dxe_RD(task.dxe_RD);
  const HostMatrix dx_TD(task.dx_TD);
  parallel_chunks(dx_TD.rows, kMoeRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (const int32_t row : task.rows.rows_of(t)) {
        const auto* const source = dxe_RD.row(row);
        auto* const target = dx_TD.row(t);
        for (int64_t d = 0; d < dx_TD.cols; ++d) target[d] += source[d];
      }
  });
}

template <class Task>
void combine_rows(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> residual_TD = task.residual_TD, ye_RD = task.ye_RD;
  const HostMatrix<real> out_TD = task.out_TD;
  const int64_t D = out_TD.cols;
  parallel_chunks(out_TD.rows, kMoeRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      real* const out = out_TD.row(t);
      if (!residual_TD)
        std::fill_n(out, D, real{0});
      else if (out != residual_TD.row(t))
        std::copy_n(residual_TD.row(t), D, out);
      for (const int32_t row : task.rows.rows_of(t)) {
        const real* const y = ye_RD.row(row);
        const real weight = task.rows.weight_R[row];
        if (task.dropout.active()) {
          const int64_t element = task.rows.element_of(row);
          for (int64_t d = 0; d < D; ++d)
            out[d] += weight * (y[d] * static_cast<real>(task.dropout.scale(element, d, D)));
        } else {
          const real factor = weight * static_cast<real>(task.dropout.multiplier);
          for (int64_t d = 0; d < D; ++d) out[d] += factor * y[d];
        }
      }
    }
  });
}

template <class Task>
void combine_rows_backward(const Task& task) {
  using real = typename Task::real;
  using operand = typename Task::operand;
  const HostMatrix<const real> dout_TD = task.dout_TD, ye_RD = task.ye_RD;
  const HostMatrix<operand> dye_RD = task.dye_RD;
  const int64_t D = dout_TD.cols;
  parallel_chunks(dout_TD.rows, kMoeRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (const int32_t row : task.rows.rows_of(t)) {
        const real* const dout = dout_TD.row(t);
        const real* const y = ye_RD.row(row);
        operand* const dy = dye_RD.row(row);
        const real weight = task.rows.weight_R[row];
        const int64_t element = task.rows.element_of(row);
        real partial[16] = {};  // fixed lanes: the sum does not depend on how the loop is vectorised
        for (int64_t d = 0; d < D; ++d) {
          const real scaled = dout[d] * (task.dropout.active() ? static_cast<real>(task.dropout.scale(element, d, D))
                                                               : static_cast<real>(task.dropout.multiplier));
          dy[d] = static_cast<operand>(weight * scaled);
          partial[d % 16] += scaled * y[d];
        }
        real dot = 0;
        for (const real value : partial) dot += value;
        task.dweight_R[row] = dot;
      }
  });
}

// sigmoid(gate_t), or 1.
template <class real>
real shared_weight(Matrix<const real> gate_T1, int64_t t) {
  return gate_T1 ? real{1} / (real{1} + std::exp(-HostMatrix<const real>(gate_T1)(t, 0))) : real{1};
}

template <class Task>
void shared_rows(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> y_TD = task.y_TD;
  const HostMatrix<real> out_TD = task.out_TD;
  const int64_t D = out_TD.cols;
  parallel_chunks(out_TD.rows, kMoeRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const real* const y = y_TD.row(t);
      real* const out = out_TD.row(t);
      const real s = shared_weight<real>(task.gate_T1, t);
      if (task.dropout.active()) {
        for (int64_t d = 0; d < D; ++d) out[d] += s * (y[d] * static_cast<real>(task.dropout.scale(t, d, D)));
      } else {
        const real factor = s * static_cast<real>(task.dropout.multiplier);
        for (int64_t d = 0; d < D; ++d) out[d] += factor * y[d];
      }
    }
  });
}

template <class Task>
void shared_rows_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> dout_TD = task.dout_TD, y_TD = task.y_TD;
  const HostMatrix<typename Task::operand> dy_TD = task.dy_TD;
  const HostMatrix<real> dgate_T1 = task.dgate_T1;
  const int64_t D = dout_TD.cols;
  parallel_chunks(dout_TD.rows, kMoeRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const real* const dout = dout_TD.row(t);
      const real* const y = y_TD.row(t);
      const real s = shared_weight<real>(task.gate_T1, t);
      real partial[16] = {};  // fixed lanes: the sum does not depend on how the loop is vectorised
      for (int64_t d = 0; d < D; ++d) {
        const real dy = dout[d] * static_cast<real>(task.dropout.active() ? task.dropout.scale(t, d, D)
                                                                         : task.dropout.multiplier);
        dy_TD(t, d) = static_cast<typename Task::operand>(s * dy);
        partial[d % 16] += dy * y[d];
      }
      real dot = 0;
      for (const real value : partial) dot += value;
      if (dgate_T1) dgate_T1(t, 0) = s * (real{1} - s) * dot;
    }
  });
}

}  // namespace troupe::host
