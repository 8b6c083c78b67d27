// gelu and its derivative (Hendrycks and Gimpel 2016), exact or with the tanh approximation of fairseq's gelu_accurate:
//   erf:   gelu(z) = z Phi(z),   Phi(z) = (1 + erf(z / sqrt 2)) / 2
//   tanh:  gelu(z) = z (1 + tanh(u)) / 2,   u = sqrt(2 / pi) (z + 0.044715 z^3)
#pragma once

#include <cmath>

#include "kernels/activation.h"

namespace troupe::ref {

template <class Real>
Real activate(Activation kind, Real z) {
  if (kind == Activation::kNone) return z;
  if (kind == Activation::kGeluErf) return z * Real(0.5) * (Real(1) + std::erf(z * Real(0.70710678118654752440)));
  const Real u = Real(0.79788456080286535588) * (z + Real(0.044715) * z * z * z);
  return Real(0.5) * z * (Real(1) + std::tanh(u));
}

template <class Real>
Real activation_derivative(Activation kind, Real z) {
  if (kind == Activation::kNone) return Real(1);
  if (kind == Activation::kGeluErf) {
    const Real cdf = Real(0.5) * (Real(1) + std::erf(z * Real(0.70710678118654752440)));
    const Real density = Real(0.39894228040143267794) * std::exp(Real(-0.5) * z * z);
    return cdf + z * density;
  }
  const Real c = Real(0.79788456080286535588), t = std::tanh(c * (z + Real(0.044715) * z * z * z));
  const Real du = c * (Real(1) + Real(3 * 0.044715) * z * z);
  return Real(0.5) * (Real(1) + t) + Real(0.5) * z * (Real(1) - t * t) * du;
}

}  // namespace troupe::ref
