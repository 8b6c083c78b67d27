// The rows of cuDNN in the lists of attention.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/cudnn.h"
#include "ops/cuda/row.h"

namespace troupe {

// Whether attention's backward pass adds in a fixed order (kernels/cuda/switches.h).
bool is_deterministic();

TROUPE_BY(cudnn, AttentionForward)
TROUPE_BY(cudnn, AttentionBackward)

// Sequences of one call of the backward pass, which keeps S x S numbers of two bytes a head to add them in order: as
// many of B as keep a GiB.
int64_t dnn_backward_sequences(int64_t B, int64_t S, int64_t H);

template <class P>
std::string cudnn_unavailable() {
  return std::is_same_v<P, Bf16> ? cuda::dnn_unavailable() : "cuDNN's attention takes bf16 alone";
}

// `rows` after that of cuDNN.
template <template <class> class Op, class P>
std::vector<Implementation<Op<P>>> with_cudnn(std::vector<Implementation<Op<P>>> rows) {
  if constexpr (!kInDouble<P>)
    rows.insert(rows.begin(),
                {"cudnn", [](const Op<P>& task, Context& context) { by_cudnn(task, context); }, Device::kCuda,
                 cudnn_unavailable<P>, [](const Op<P>& task) { return refused_by_cudnn(task); }});
  return rows;
}

}  // namespace troupe
