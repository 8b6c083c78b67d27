// The rows of cuBLASLt in the lists of products.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/cublaslt.h"
#include "ops/cuda/row.h"
#include "tensor/matrix.h"

namespace troupe {

// The three products. They refuse what the library would not take, or take slowly for where it starts.
TROUPE_BY(cublaslt, LinearForward)
TROUPE_BY(cublaslt, LinearBackwardInput)
TROUPE_BY(cublaslt, LinearBackwardWeight)

template <class P>
class LinearBank;

// The products of an output layer, of any number N of outputs: over padded_width() columns, those beyond N by weights
// of 0, so that what the library reads and writes is aligned and even. That is N where it is not used, and neither are
// the three products.
template <class P>
int64_t padded_width(const LinearBank<P>& bank, Matrix<const typename P::operand> x_RK);
// y = multiplier x W^T
template <class P>
void padded_forward(const LinearBank<P>& bank, Matrix<const typename P::operand> x_RK, Matrix<typename P::real> y,
                    float multiplier, Context& context);
// dx = dy W
template <class P>
void padded_backward_input(const LinearBank<P>& bank, Matrix<const typename P::operand> dy, Matrix<typename P::real> dx,
                           Context& context);
// dw += dy^T x, of as many outputs as there are: an even number of them, then the rest.
template <class P>
void padded_backward_weight(const LinearBank<P>& bank, Matrix<const typename P::operand> dy,
                            Matrix<const typename P::operand> x_RK, typename P::real* dw, Context& context);

// `rows` after that of cuBLASLt.
template <template <class> class Op, class P>
std::vector<Implementation<Op<P>>> with_cublaslt(std::vector<Implementation<Op<P>>> rows) {
  if constexpr (!kInDouble<P>)
    rows.insert(rows.begin(),
                {"cublaslt", [](const Op<P>& task, Context& context) { by_cublaslt(task, context); }, Device::kCuda,
                 cuda::lt_unavailable, [](const Op<P>& task) { return refused_by_cublaslt(task); }});
  return rows;
}

}  // namespace troupe
