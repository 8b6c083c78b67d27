// Embedding lookup and its gradient; tasks are those of ops/embedding.h.
#pragma once

#include <cstdint>

#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class Task>
void embedding_forward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> embed_VD = task.embed_VD, positions_PD = task.positions_PD;
  const HostMatrix<real> x_TD = task.x_TD;
  for (int64_t t = 0; t < x_TD.rows; ++t)
    for (int64_t d = 0; d < x_TD.cols; ++d)
      x_TD(t, d) = (static_cast<real>(task.scale) * embed_VD(task.tokens_T[t], d) +
                    (positions_PD ? positions_PD(task.positions_T[t], d) : real{0})) *
                   static_cast<real>(task.dropout.scale(t, d, x_TD.cols));
}

template <class Task>
void embedding_backward(const Task& task) {
  using real = typename Task::real;
  const auto& tokens_T = task.tokens_T;
  const auto& positions_T = task.positions_T;
  const HostMatrix<const real> dx_TD = task.dx_TD;
  const HostMatrix<real> dembed_VD = task.dembed_VD, dpositions_PD = task.dpositions_PD;
  for (int64_t t = 0; t < dx_TD.rows; ++t)
    for (int64_t d = 0; d < dx_TD.cols; ++d) {
      const real gradient = dx_TD(t, d) * static_cast<real>(task.dropout.scale(t, d, dx_TD.cols));
      if (dembed_VD && tokens_T[t] != task.pad_id)
        dembed_VD(tokens_T[t], d) += static_cast<real>(task.scale) * gradient;
      if (dpositions_PD && positions_T[t] != task.pad_position) dpositions_PD(positions_T[t], d) += gradient;
    }
}

}  // namespace troupe::ref
