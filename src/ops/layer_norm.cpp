#include "ops/layer_norm.h"

#include <array>
#include <type_traits>

#include "base/threads.h"
#include "kernels/ref/layer_norm.h"
#include "kernels/table.h"
#include "ops/implementations.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

constexpr int64_t kTokenChunk = 64;  // the cut of sums over tokens, whatever the number of threads

template <class P, Isa level>
void forward(Matrix<const float> x_TD, std::span<const float> gamma_D, std::span<const float> beta_D, double epsilon,
             Matrix<typename P::operand> y_TD, Matrix<float> y_real_TD, std::span<float> mean_T,
             std::span<float> rstd_T) {
  const auto& layer_norm = kernels(level).layer_norm;
  parallel_chunks(x_TD.rows, kTokenChunk, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const LayerNormForwardTask<typename P::operand> task = {
        x_TD.rows_from(begin, count),
        gamma_D.data(),
        beta_D.data(),
        static_cast<float>(epsilon),
        y_TD ? y_TD.rows_from(begin, count) : y_TD,
        y_real_TD ? y_real_TD.rows_from(begin, count) : y_real_TD,
        mean_T.empty() ? nullptr : mean_T.data() + begin,
        rstd_T.empty() ? nullptr : rstd_T.data() + begin,
    };
    if constexpr (std::is_same_v<P, F32>)
      layer_norm.forward_f32(task);
    else
      layer_norm.forward_bf16(task);
  });
}

// Adds the rows of parts_ND to sum_D in order, columns in parallel.
void add_parts(const float* parts_ND, int64_t num_parts, int64_t stride, std::span<float> sum_D) {
  parallel_chunks(static_cast<int64_t>(sum_D.size()), 256, [&](int64_t begin, int64_t end) {
    for (int64_t part = 0; part < num_parts; ++part)
      for (int64_t d = begin; d < end; ++d) sum_D[static_cast<size_t>(d)] += parts_ND[part * stride + d];
  });
}

template <Isa level>
void backward(Matrix<const float> x_TD, std::span<const float> gamma_D, std::span<const float> mean_T,
              std::span<const float> rstd_T, Matrix<const float> dy_TD, Matrix<float> dx_TD, std::span<float> dgamma_D,
              std::span<float> dbeta_D) {
  const auto& layer_norm = kernels(level).layer_norm;
  const int64_t D = x_TD.cols, num_parts = (x_TD.rows + kTokenChunk - 1) / kTokenChunk;
  static thread_local Buffer<float> buffer;  // kept, so that steps do not allocate
  buffer.reserve(2 * num_parts * D);
  float* const parts = buffer.data();
  parallel_chunks(x_TD.rows, kTokenChunk, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    float* sums = parts + begin / kTokenChunk * 2 * D;
    layer_norm.backward({x_TD.rows_from(begin, count), gamma_D.data(), mean_T.data() + begin, rstd_T.data() + begin,
                         dy_TD.rows_from(begin, count), dx_TD.rows_from(begin, count), sums, sums + D});
  });
  add_parts(parts, num_parts, 2 * D, dgamma_D);
  add_parts(parts + D, num_parts, 2 * D, dbeta_D);
}

template <class P, Isa level>
constexpr LayerNormKernels<P> vectorized(std::string_view name) {
  return {name, refuses_below<level>, forward<P, level>, backward<level>};
}

template <class P>
constexpr LayerNormKernels<P> kReference = {"ref", never_refuses, ref::layer_norm_forward<P>,
                                            ref::layer_norm_backward<P>};

template <class P>
constexpr std::array kLayerNorm = {vectorized<P, Isa::kAvx512>("avx512"), vectorized<P, Isa::kAvx2>("avx2"),
                                   vectorized<P, Isa::kGeneric>("generic"), kReference<P>};
template <>
constexpr std::array kLayerNorm<F64> = {kReference<F64>};

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
