#include "ops/layer_norm.h"

#include <array>

#include "kernels/ref/layer_norm.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class P>
constexpr std::array kLayerNorm = {
    LayerNormKernels<P>{"ref", never_refuses, ref::layer_norm_forward<P>, ref::layer_norm_backward<P>},
};

template <class P>
const LayerNormKernels<P>& chosen() {
  static const LayerNormKernels<P>& kernels = choose("layer_norm", layer_norm_list<P>());
  return kernels;
}

}  // namespace

template <class P>
std::span<const LayerNormKernels<P>> layer_norm_list() {
  return kLayerNorm<P>;
}

template <class P>
void layer_norm_forward(Matrix<const typename P::real> x_TD, std::span<const typename P::real> gamma_D,
                        std::span<const typename P::real> beta_D, Matrix<typename P::operand> y_TD,
                        Matrix<typename P::real> y_real_TD, std::span<typename P::real> mean_T,
                        std::span<typename P::real> rstd_T) {
  chosen<P>().forward(x_TD, gamma_D, beta_D, kLayerNormEpsilon, y_TD, y_real_TD, mean_T, rstd_T);
}

template <class P>
void layer_norm_backward(Matrix<const typename P::real> x_TD, std::span<const typename P::real> gamma_D,
                         std::span<const typename P::real> mean_T, std::span<const typename P::real> rstd_T,
                         Matrix<const typename P::real> dy_TD, Matrix<typename P::real> dx_TD,
                         std::span<typename P::real> dgamma_D, std::span<typename P::real> dbeta_D) {
  chosen<P>().backward(x_TD, gamma_D, mean_T, rstd_T, dy_TD, dx_TD, dgamma_D, dbeta_D);
}

#define TROUPE_INSTANTIATE(P)                                                                                       \
  template std::span<const LayerNormKernels<P>> layer_norm_list<P>();                                               \
  template void layer_norm_forward<P>(Matrix<const P::real>, std::span<const P::real>, std::span<const P::real>,    \
                                      Matrix<P::operand>, Matrix<P::real>, std::span<P::real>, std::span<P::real>); \
  template void layer_norm_backward<P>(Matrix<const P::real>, std::span<const P::real>, std::span<const P::real>,   \
                                       std::span<const P::real>, Matrix<const P::real>, Matrix<P::real>,            \
                                       std::span<P::real>, std::span<P::real>);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
