// One Adam update and the scans of gradients; tasks are those of ops/adam.h. Arithmetic in double, state in `real`.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/rng.h"
#include "kernels/adam_step.h"
#include "kernels/chance.h"

namespace troupe::ref {

// One element after another.
struct AdamElements {
  const AdamStep& step;
  double correction1 = 1.0 - std::pow(step.beta1, static_cast<double>(step.t));
  double correction2 = std::sqrt(1.0 - std::pow(step.beta2, static_cast<double>(step.t)));

  template <class real>
  void update(double gradient, real& p, real& m, real& v) const {
    m = static_cast<real>(step.beta1 * m + (1.0 - step.beta1) * gradient);
    v = static_cast<real>(step.beta2 * v + (1.0 - step.beta2) * gradient * gradient);
    const double decayed = p - step.weight_decay * step.lr * p;
    const double root = std::sqrt(static_cast<double>(v));
    const double move = step.form == AdamStep::Form::kFairseq
                            ? step.lr * correction2 / correction1 * m / (root + step.eps)
                            : step.lr / correction1 * m / (root / correction2 + step.eps);
    p = static_cast<real>(decayed - move);
  }
};

template <class Task>
void adam_update(const Task& task) {
  const auto& [p, g, m, v, step, grad_scale] = task;
  const AdamElements elements{step};
  for (size_t i = 0; i < p.size(); ++i) elements.update(grad_scale * static_cast<double>(g[i]), p[i], m[i], v[i]);
}

template <class Task>
void adam_update_bf16(const Task& task) {
  using real = typename Task::real;
  const AdamElements elements{task.step};
  for (size_t i = 0; i < task.p.size(); ++i) {
    real m = static_cast<float>(task.m[i]), v = static_cast<float>(task.v[i]);
    elements.update(task.grad_scale * static_cast<double>(task.g[i]), task.p[i], m, v);
    const uint64_t n = static_cast<uint64_t>(task.first) + i;
    const uint32_t word = philox(task.key, n / 4)[n % 4];
    task.m[i] = round_by_chance(static_cast<float>(m), word & 0xFFFF);
    task.v[i] = round_by_chance(static_cast<float>(v), word >> 16);
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
    if (!std::isfinite(static_cast<double>(task.values[i]))) *task.first = static_cast<int64_t>(i);
}

}  // namespace troupe::ref
