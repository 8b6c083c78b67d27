// kernels/ref/activation.h for the device.
#pragma once

#include <cmath>

#include "kernels/activation.h"
#include "kernels/cuda/grid.h"

namespace troupe::cuda {

TROUPE_KERNEL float activate(Activation kind, float z) {
  switch (kind) {
    case Activation::kNone:
      return z;
    case Activation::kGeluErf:
      return z * 0.5f * (1.0f + erff(z * 0.70710678118654752440f));
    case Activation::kGeluTanh:
      return 0.5f * z * (1.0f + tanhf(0.79788456080286535588f * (z + 0.044715f * z * z * z)));
    case Activation::kRelu:
      return z > 0.0f ? z : z * 0.0f;  // NaN stays
    case Activation::kRelu2:
      return z > 0.0f ? z * z : z * 0.0f;
    case Activation::kSilu:
      return z / (1.0f + expf(-z));
  }
  return z;
}

TROUPE_KERNEL float activation_derivative(Activation kind, float z) {
  switch (kind) {
    case Activation::kNone:
      return 1.0f;
    case Activation::kGeluErf: {
      const float cdf = 0.5f * (1.0f + erff(z * 0.70710678118654752440f));
      return cdf + z * (0.39894228040143267794f * expf(-0.5f * z * z));
    }
    case Activation::kGeluTanh: {
      const float c = 0.79788456080286535588f, t = tanhf(c * (z + 0.044715f * z * z * z));
      return 0.5f * (1.0f + t) + 0.5f * z * (1.0f - t * t) * (c * (1.0f + 3 * 0.044715f * z * z));
    }
    case Activation::kRelu:
      return z > 0.0f ? 1.0f : 0.0f;
    case Activation::kRelu2:
      return z > 0.0f ? 2.0f * z : 0.0f;
    case Activation::kSilu: {
      const float s = 1.0f / (1.0f + expf(-z));
      return s * (1.0f + z * (1.0f - s));
    }
  }
  return 1.0f;
}

}  // namespace troupe::cuda
