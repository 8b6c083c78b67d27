// LayerNorm over rows: y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(var + 1e-5), biased variance in two passes
// (fairseq modules/layer_norm.py). Implementations: kLayerNorm in layer_norm.cpp.
#pragma once

#include <span>

#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

inline constexpr double kLayerNormEpsilon = 1e-5;

// Writes y in the operand type, and also in real where y_real is set (the router reads it). mean_T, rstd_T may be empty
// in evaluation.
template <class P>
void layer_norm_forward(Matrix<const typename P::real> x_TD, std::span<const typename P::real> gamma_D,
                        std::span<const typename P::real> beta_D, Matrix<typename P::operand> y_TD,
                        Matrix<typename P::real> y_real_TD, std::span<typename P::real> mean_T,
                        std::span<typename P::real> rstd_T);

// Adds to dx_TD, and to dgamma_D and dbeta_D unless they are empty. Sums over tokens run over fixed chunks in order.
template <class P>
void layer_norm_backward(Matrix<const typename P::real> x_TD, std::span<const typename P::real> gamma_D,
                         std::span<const typename P::real> mean_T, std::span<const typename P::real> rstd_T,
                         Matrix<const typename P::real> dy_TD, Matrix<typename P::real> dx_TD,
                         std::span<typename P::real> dgamma_D, std::span<typename P::real> dbeta_D);

}  // namespace troupe
