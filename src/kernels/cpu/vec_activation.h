// Activations on vectors; formulas: kernels/ref/activation.h. Include only from cpu/*.cpp.
#pragma once

#include "kernels/activation.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// Makes the kind a compile-time choice of the inner loop, so that its constants stay in registers.
template <class Body>
TROUPE_INLINE void with_activation(Activation kind, const Body& body) {
  switch (kind) {
    case Activation::kNone:
      return body.template operator()<Activation::kNone>();
    case Activation::kGeluErf:
      return body.template operator()<Activation::kGeluErf>();
    case Activation::kGeluTanh:
      return body.template operator()<Activation::kGeluTanh>();
    case Activation::kRelu:
      return body.template operator()<Activation::kRelu>();
    case Activation::kSilu:
      return body.template operator()<Activation::kSilu>();
    case Activation::kRelu2:
      return body.template operator()<Activation::kRelu2>();
  }
}

TROUPE_INLINE Vec positive(Vec z) { return z > Vec{} ? z : z * 0.0f; }  // NaN stays
TROUPE_INLINE Vec sigmoid(Vec z) {
  const Vec e = exp_nonpositive(-abs(z));  // no overflow on either side
  const Vec s = 1.0f / (1.0f + e);
  return z < Vec{} ? e * s : s;
}

template <Activation kind>
TROUPE_INLINE Vec activate(Vec z) {
  if constexpr (kind == Activation::kGeluErf) return z * normal_cdf(z);
  if constexpr (kind == Activation::kGeluTanh)
    return z * 0.5f * (1.0f + tanh(0.797884561f * (z + 0.044715f * z * z * z)));
  if constexpr (kind == Activation::kRelu) return positive(z);
  if constexpr (kind == Activation::kRelu2) return z * positive(z);
  if constexpr (kind == Activation::kSilu) return z * sigmoid(z);
  return z;
}

template <Activation kind>
TROUPE_INLINE Vec derivative(Vec z) {
  if constexpr (kind == Activation::kNone) return broadcast(1.0f);
  if constexpr (kind == Activation::kGeluErf)
    return normal_cdf(z) + z * (0.39894228f * exp2_nonpositive(-0.721347520f * z * z));
  if constexpr (kind == Activation::kRelu) return z > Vec{} ? broadcast(1.0f) : Vec{};
  if constexpr (kind == Activation::kRelu2) return z > Vec{} ? z + z : Vec{};
  if constexpr (kind == Activation::kSilu) {
    const Vec s = sigmoid(z);
    return s * (1.0f + z * (1.0f - s));
  }
  const Vec t = tanh(0.797884561f * (z + 0.044715f * z * z * z));
  const Vec du = 0.797884561f * (1.0f + 0.134145f * z * z);
  return 0.5f * (1.0f + t) + 0.5f * z * (1.0f - t * t) * du;
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
