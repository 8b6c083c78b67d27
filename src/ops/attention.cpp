#include "ops/attention.h"

#include <array>

#include "kernels/attention_blocked.h"
#include "kernels/ref/attention.h"
#include "kernels/table.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class P, Isa level>
void forward(const AttentionShape& shape, Matrix<const typename P::operand> qkv_T3D, Matrix<typename P::operand> ctx_TD,
             std::span<typename P::real> lse_BHS) {
  blocked_attention_forward<P>(kernels(level).attention, shape, qkv_T3D, ctx_TD, lse_BHS);
}

template <class P, Isa level>
void backward(const AttentionShape& shape, Matrix<const typename P::operand> qkv_T3D,
              Matrix<const typename P::operand> ctx_TD, std::span<const typename P::real> lse_BHS,
              Matrix<const typename P::operand> dctx_TD, Matrix<typename P::operand> dqkv_T3D) {
  blocked_attention_backward<P>(kernels(level).attention, shape, qkv_T3D, ctx_TD, lse_BHS, dctx_TD, dqkv_T3D);
}

template <class P, Isa level>
void decode(int64_t H, double scale, std::span<const DecodeSequence<P>> sequences) {
  blocked_attention_decode<P>(kernels(level).attention, H, scale, sequences);
}

template <class P, Isa level>
constexpr AttentionKernels<P> blocked(std::string_view name) {
  return {name, refuses_below<level>, forward<P, level>, backward<P, level>, decode<P, level>};
}

template <class P>
constexpr AttentionKernels<P> kReference = {"ref", never_refuses, ref::attention_forward<P>, ref::attention_backward<P>,
                                            ref::attention_decode<P>};

template <class P>
constexpr std::array kAttention = {kReference<P>};
template <>
constexpr std::array kAttention<F32> = {blocked<F32, Isa::kAvx512>("avx512"), blocked<F32, Isa::kAvx2>("avx2"),
                                        blocked<F32, Isa::kGeneric>("generic"), kReference<F32>};
template <>
constexpr std::array kAttention<Bf16> = {
    blocked<Bf16, Isa::kAmx>("amx"),         blocked<Bf16, Isa::kAvx512Bf16>("avx512bf16"),
    blocked<Bf16, Isa::kAvx512>("avx512"),   blocked<Bf16, Isa::kAvx2>("avx2"),
    blocked<Bf16, Isa::kGeneric>("generic"), kReference<Bf16>};

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
