#include "ops/attention.h"

#include <array>

#include "kernels/ref/attention.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class P>
constexpr std::array kAttention = {
    AttentionKernels<P>{"ref", never_refuses, ref::attention_forward<P>, ref::attention_backward<P>,
                        ref::attention_decode<P>},
};

template <class P>
const AttentionKernels<P>& chosen() {
  static const AttentionKernels<P>& kernels = choose("attention", attention_list<P>());
  return kernels;
}

}  // namespace

template <class P>
std::span<const AttentionKernels<P>> attention_list() {
  return kAttention<P>;
}

template <class P>
void attention_forward(const AttentionShape& shape, Matrix<const typename P::operand> qkv_T3D,
                       Matrix<typename P::operand> ctx_TD, std::span<typename P::real> lse_BHS) {
  chosen<P>().forward(shape, qkv_T3D, ctx_TD, lse_BHS);
}

template <class P>
void attention_backward(const AttentionShape& shape, Matrix<const typename P::operand> qkv_T3D,
                        Matrix<const typename P::operand> ctx_TD, std::span<const typename P::real> lse_BHS,
                        Matrix<const typename P::operand> dctx_TD, Matrix<typename P::operand> dqkv_T3D) {
  chosen<P>().backward(shape, qkv_T3D, ctx_TD, lse_BHS, dctx_TD, dqkv_T3D);
}

template <class P>
void attention_decode(int64_t H, double scale, std::span<const DecodeSequence<P>> sequences) {
  chosen<P>().decode(H, scale, sequences);
}

#define TROUPE_INSTANTIATE(P)                                                                                    \
  template std::span<const AttentionKernels<P>> attention_list<P>();                                             \
  template void attention_forward<P>(const AttentionShape&, Matrix<const P::operand>, Matrix<P::operand>,        \
                                     std::span<P::real>);                                                        \
  template void attention_backward<P>(const AttentionShape&, Matrix<const P::operand>, Matrix<const P::operand>, \
                                      std::span<const P::real>, Matrix<const P::operand>, Matrix<P::operand>);   \
  template void attention_decode<P>(int64_t, double, std::span<const DecodeSequence<P>>);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
