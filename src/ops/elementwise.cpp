#include "ops/elementwise.h"

#include <array>

#include "kernels/ref/elementwise.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class P>
constexpr std::array kElementwise = {
    ElementwiseKernels<P>{"ref", never_refuses, ref::dropout_backward<P>},
};

}  // namespace

template <class P>
std::span<const ElementwiseKernels<P>> elementwise_list() {
  return kElementwise<P>;
}

template <class P>
void dropout_backward(Matrix<const typename P::real> dx, const Dropout& dropout, Matrix<typename P::operand> dy) {
  static const ElementwiseKernels<P>& kernels = choose("elementwise", elementwise_list<P>());
  kernels.dropout_backward(dx, dropout, dy);
}

#define TROUPE_INSTANTIATE(P)                                            \
  template std::span<const ElementwiseKernels<P>> elementwise_list<P>(); \
  template void dropout_backward<P>(Matrix<const P::real>, const Dropout&, Matrix<P::operand>);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
