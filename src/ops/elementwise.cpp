#include "ops/elementwise.h"

#include <array>
#include <type_traits>

#include "base/threads.h"
#include "kernels/ref/elementwise.h"
#include "kernels/table.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class P, Isa level>
void dropout_rows(Matrix<const float> dx, const Dropout& dropout, Matrix<typename P::operand> dy) {
  parallel_chunks(dx.rows, 64, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).rows.dropout_f32(dx, dropout, begin, end, dy);
    else
      kernels(level).rows.dropout_bf16(dx, dropout, begin, end, dy);
  });
}

template <class P, Isa level>
constexpr ElementwiseKernels<P> vectorized(std::string_view name) {
  return {name, refuses_below<level>, dropout_rows<P, level>};
}

template <class P>
constexpr ElementwiseKernels<P> kReference = {"ref", never_refuses, ref::dropout_backward<P>};

template <class P>
constexpr std::array kElementwise = {vectorized<P, Isa::kAvx512>("avx512"), vectorized<P, Isa::kAvx2>("avx2"),
                                     vectorized<P, Isa::kGeneric>("generic"), kReference<P>};
template <>
constexpr std::array kElementwise<F64> = {kReference<F64>};

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
