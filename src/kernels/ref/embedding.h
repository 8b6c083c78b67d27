// Embedding lookup and its gradient; tasks are those of ops/embedding.h.
#pragma once

#include <cstdint>

namespace troupe::ref {

template <class Task>
void embedding_forward(const Task& task) {
  using real = typename Task::real;
  const auto& [tokens_T, positions_T, embed_VD, positions_PD, scale, dropout, x_TD] = task;
  for (int64_t t = 0; t < x_TD.rows; ++t)
    for (int64_t d = 0; d < x_TD.cols; ++d)
      x_TD(t, d) = (static_cast<real>(scale) * embed_VD(tokens_T[t], d) + positions_PD(positions_T[t], d)) *
                   static_cast<real>(dropout.scale(t, d, x_TD.cols));
}

template <class Task>
void embedding_backward(const Task& task) {
  using real = typename Task::real;
  const auto& [tokens_T, positions_T, pad_id, pad_position, scale, dropout, dx_TD, dembed_VD, dpositions_PD] = task;
  for (int64_t t = 0; t < dx_TD.rows; ++t)
    for (int64_t d = 0; d < dx_TD.cols; ++d) {
      const real gradient = dx_TD(t, d) * static_cast<real>(dropout.scale(t, d, dx_TD.cols));
      if (dembed_VD && tokens_T[t] != pad_id) dembed_VD(tokens_T[t], d) += static_cast<real>(scale) * gradient;
      if (dpositions_PD && positions_T[t] != pad_position) dpositions_PD(positions_T[t], d) += gradient;
    }
}

}  // namespace troupe::ref
