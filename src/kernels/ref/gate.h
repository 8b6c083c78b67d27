// The gated feed-forward network as its equations read; tasks are those of ops/gate.h.
#pragma once

#include <cstdint>

#include "kernels/ref/activation.h"
#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class Task>
void gate_forward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const typename Task::operand> z = task.z_R2F;
  const HostMatrix<typename Task::operand> hidden = task.hidden_RF;
  const int64_t F = hidden.cols;
  for (int64_t r = 0; r < hidden.rows; ++r)
    for (int64_t f = 0; f < F; ++f) {
      const auto a = static_cast<real>(z(r, f)), b = static_cast<real>(z(r, F + f));
      hidden(r, f) = static_cast<typename Task::operand>(activate(task.activation, a) * b);
    }
}

template <class Task>
void gate_backward(const Task& task) {
  using real = typename Task::real;
  using operand = typename Task::operand;
  const HostMatrix<const operand> z = task.z_R2F, dhidden = task.dhidden_RF;
  const HostMatrix<operand> dz = task.dz_R2F;
  const int64_t F = dhidden.cols;
  for (int64_t r = 0; r < dhidden.rows; ++r)
    for (int64_t f = 0; f < F; ++f) {
      const auto a = static_cast<real>(z(r, f)), b = static_cast<real>(z(r, F + f));
      const auto dh = static_cast<real>(dhidden(r, f));
      dz(r, f) = static_cast<operand>(dh * b * activation_derivative(task.activation, a));
      dz(r, F + f) = static_cast<operand>(dh * activate(task.activation, a));
    }
}

}  // namespace troupe::ref
