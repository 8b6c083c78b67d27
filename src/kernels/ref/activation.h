// Activations and their derivatives:
//   gelu (Hendrycks and Gimpel 2016), exact or with the tanh approximation of fairseq's gelu_accurate:
//     erf:   gelu(z) = z Phi(z),   Phi(z) = (1 + erf(z / sqrt 2)) / 2
//     tanh:  gelu(z) = z (1 + tanh(u)) / 2,   u = sqrt(2 / pi) (z + 0.044715 z^3)
//   relu(z) = max(z, 0);  relu2(z) = relu(z)^2 (So et al. 2021);  silu(z) = z s,  s = 1 / (1 + exp(-z))
#pragma once

#include <cmath>

#include "kernels/activation.h"

namespace troupe::ref {

template <class Real>
Real activate(Activation kind, Real z) {
  switch (kind) {
    case Activation::kNone:
      return z;
    case Activation::kGeluErf:
      return z * Real(0.5) * (Real(1) + std::erf(z * Real(0.70710678118654752440)));
    case Activation::kGeluTanh: {
      const Real u = Real(0.79788456080286535588) * (z + Real(0.044715) * z * z * z);
      return Real(0.5) * z * (Real(1) + std::tanh(u));
    }
    case Activation::kRelu:
      return z > Real(0) ? z : z * Real(0);  // NaN stays
    case Activation::kRelu2:
      return z > Real(0) ? z * z : z * Real(0);
    case Activation::kSilu:
      return z / (Real(1) + std::exp(-z));
  }
  return z;
}

template <class Real>
Real activation_derivative(Activation kind, Real z) {
  switch (kind) {
    case Activation::kNone:
      return Real(1);
    case Activation::kGeluErf: {
      const Real cdf = Real(0.5) * (Real(1) + std::erf(z * Real(0.70710678118654752440)));
      const Real density = Real(0.39894228040143267794) * std::exp(Real(-0.5) * z * z);
      return cdf + z * density;
    }
    case Activation::kGeluTanh: {
      const Real c = Real(0.79788456080286535588), t = std::tanh(c * (z + Real(0.044715) * z * z * z));
      const Real du = c * (Real(1) + Real(3 * 0.044715) * z * z);
      return Real(0.5) * (Real(1) + t) + Real(0.5) * z * (Real(1) - t * t) * du;
    }
    case Activation::kRelu:
      return z > Real(0) ? Real(1) : Real(0);
    case Activation::kRelu2:
      return z > Real(0) ? Real(2) * z : Real(0);
    case Activation::kSilu: {
      const Real s = Real(1) / (Real(1) + std::exp(-z));
      return s * (Real(1) + z * (Real(1) - s));
    }
  }
  return Real(1);
}

}  // namespace troupe::ref
