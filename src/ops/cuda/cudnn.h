// The rows of cuDNN in the lists of attention.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/cudnn.h"
#include "ops/cuda/row.h"

namespace troupe {

#define TROUPE_BY_CUDNN(Task)                   \
  template <class>                              \
  struct Task;                                  \
  template <class P>                            \
  void by_cudnn(const Task<P>& task, Context&); \
  template <class P>                            \
  std::string refuses_cudnn(const Task<P>& task);
TROUPE_BY_CUDNN(AttentionForward)
TROUPE_BY_CUDNN(AttentionBackward)
#undef TROUPE_BY_CUDNN

// Bytes that a call of the backward pass may keep of probabilities and their gradients, to add them in order.
inline constexpr int64_t kDnnBackwardBytes = int64_t{1} << 30;

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
                 cudnn_unavailable<P>, [](const Op<P>& task) { return refuses_cudnn(task); }});
  return rows;
}

}  // namespace troupe
