// One Adam update (ops/adam.h), arithmetic in double, state in `real`.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "kernels/adam_step.h"

namespace troupe::ref {

template <class real>
void adam_update(std::span<real> p, std::span<const real> g, std::span<real> m, std::span<real> v, const AdamStep& step,
                 double grad_scale) {
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

template <class real>
double sum_of_squares(std::span<const real> values) {
  double sum = 0.0;
  for (const real value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

}  // namespace troupe::ref
