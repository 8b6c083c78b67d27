#include "ops/loss.h"

#include <array>

#include "kernels/ref/loss.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class P>
Matrix<const typename P::real> table_of(const LinearBank<P>& embed) {
  return {embed.weight(0), embed.out(), embed.in()};
}

template <class P>
void reference_loss(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                    std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                    std::span<int32_t> argmax_T) {
  ref::output_loss<P>(table_of(embed), h_TD, targets_T, nll_T, argmax_T);
}

template <class P>
void reference_loss_with_gradient(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                                  std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                                  Matrix<typename P::real> dh_TD, typename P::real* dembed_VD) {
  ref::output_loss_with_gradient<P>(table_of(embed), h_TD, targets_T, nll_T, dh_TD, dembed_VD);
}

template <class P>
constexpr std::array kLoss = {
    LossKernels<P>{"ref", never_refuses, reference_loss<P>, reference_loss_with_gradient<P>},
};

template <class P>
const LossKernels<P>& chosen() {
  static const LossKernels<P>& kernels = choose("loss", loss_list<P>());
  return kernels;
}

}  // namespace

template <class P>
std::span<const LossKernels<P>> loss_list() {
  return kLoss<P>;
}

template <class P>
void output_loss(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD, std::span<const int32_t> targets_T,
                 std::span<typename P::real> nll_T, std::span<int32_t> argmax_T) {
  chosen<P>().loss(embed, h_TD, targets_T, nll_T, argmax_T);
}

template <class P>
void output_loss_with_gradient(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                               std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                               Matrix<typename P::real> dh_TD, typename P::real* dembed_VD) {
  chosen<P>().loss_with_gradient(embed, h_TD, targets_T, nll_T, dh_TD, dembed_VD);
}

#define TROUPE_INSTANTIATE(P)                                                                                          \
  template std::span<const LossKernels<P>> loss_list<P>();                                                             \
  template void output_loss<P>(const LinearBank<P>&, Matrix<const P::operand>, std::span<const int32_t>,               \
                               std::span<P::real>, std::span<int32_t>);                                                \
  template void output_loss_with_gradient<P>(const LinearBank<P>&, Matrix<const P::operand>, std::span<const int32_t>, \
                                             std::span<P::real>, Matrix<P::real>, P::real*);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
