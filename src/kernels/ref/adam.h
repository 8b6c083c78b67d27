// One Adam update and the scans of gradients; tasks are those of ops/adam.h. Arithmetic in double, state in `real`.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/adam_step.h"

namespace troupe::ref {

template <class Task>
void adam_update(const Task& task) {
  using real = typename Task::real;
  const auto& [p, g, m, v, step, grad_scale] = task;
  const double correction1 = 1.0 - std::pow(step.beta1, static_cast<double>(step.t));
  const double correction2 = std::sqrt(1.0 - std::pow(step.beta2, static_cast<double>(step.t)));
  for (size_t i = 0; i < p.size(); ++i) {
    const double gradient = grad_scale * static_cast<double>(g[i]);
    m[i] = static_cast<real>(step.beta1 * m[i] + (1.0 - step.beta1) * gradient);
    v[i] = static_cast<real>(step.beta2 * v[i] + (1.0 - step.beta2) * gradient * gradient);
    const double decayed = p[i] - step.weight_decay * step.lr * p[i];
    const double root = std::sqrt(static_cast<double>(v[i]));
    const double move = step.form == AdamStep::Form::kFairseq
                            ? step.lr * correction2 / correction1 * m[i] / (root + step.eps)
                            : step.lr / correction1 * m[i] / (root / correction2 + step.eps);
    p[i] = static_cast<real>(decayed - move);
  }
}

template <class Task>
void sum_of_squares(const Task& task) {
  *task.sum = 0.0;
  for (const auto value : task.values) *task.sum += static_cast<double>(value) * static_cast<double>(value);
}

template <class Task>
void find_non_finite(const Task& task) {
  *task.first = -1;
  for (size_t i = 0; i < task.values.size() && *task.first < 0; ++i)
    if (!std::isfinite(task.values[i])) *task.first = static_cast<int64_t>(i);
}

}  // namespace troupe::ref
