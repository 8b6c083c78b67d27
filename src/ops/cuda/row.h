// The rows for CUDA in the lists of the ops: each launches kernels of kernels/cuda by its on_cuda(task, context), in
// this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/machine.h"
#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

#define TROUPE_ON_CUDA(Task) \
  template <class>           \
  struct Task;               \
  template <class T>         \
  void on_cuda(const Task<T>&, Context&);
TROUPE_ON_CUDA(AdamUpdate)
TROUPE_ON_CUDA(AdamUpdateBf16)
TROUPE_ON_CUDA(Add)
TROUPE_ON_CUDA(AttentionBackward)
TROUPE_ON_CUDA(AttentionDecode)
TROUPE_ON_CUDA(AttentionForward)
TROUPE_ON_CUDA(BalanceLoss)
TROUPE_ON_CUDA(BalanceLossBackward)
TROUPE_ON_CUDA(CombineRows)
TROUPE_ON_CUDA(CombineRowsBackward)
TROUPE_ON_CUDA(Copy)
TROUPE_ON_CUDA(DropoutBackward)
TROUPE_ON_CUDA(DropRows)
TROUPE_ON_CUDA(EmbeddingBackward)
TROUPE_ON_CUDA(EmbeddingForward)
TROUPE_ON_CUDA(Fill)
TROUPE_ON_CUDA(FindNonFinite)
TROUPE_ON_CUDA(GateBackward)
TROUPE_ON_CUDA(GateForward)
TROUPE_ON_CUDA(GatherRows)
TROUPE_ON_CUDA(GatherRowsBackward)
TROUPE_ON_CUDA(HeadNormBackward)
TROUPE_ON_CUDA(HeadNormForward)
TROUPE_ON_CUDA(Jitter)
TROUPE_ON_CUDA(LayerNormBackward)
TROUPE_ON_CUDA(LayerNormForward)
TROUPE_ON_CUDA(LinearBackwardInput)
TROUPE_ON_CUDA(LinearBackwardWeight)
TROUPE_ON_CUDA(LinearForward)
TROUPE_ON_CUDA(MuonUpdate)
TROUPE_ON_CUDA(OutputLoss)
TROUPE_ON_CUDA(OutputLossWithGradient)
TROUPE_ON_CUDA(RmsNormBackward)
TROUPE_ON_CUDA(RmsNormForward)
TROUPE_ON_CUDA(Rotary)
TROUPE_ON_CUDA(RotaryTable)
TROUPE_ON_CUDA(Route)
TROUPE_ON_CUDA(RouteBackward)
TROUPE_ON_CUDA(RouterZLoss)
TROUPE_ON_CUDA(RouterZLossBackward)
TROUPE_ON_CUDA(SharedRows)
TROUPE_ON_CUDA(SharedRowsBackward)
TROUPE_ON_CUDA(SinusoidalPositions)
TROUPE_ON_CUDA(SoftCap)
TROUPE_ON_CUDA(StoreBackwardInput)
TROUPE_ON_CUDA(StoreForward)
TROUPE_ON_CUDA(Sum)
TROUPE_ON_CUDA(SumOfSquares)
#undef TROUPE_ON_CUDA

// What a row that does not take every task is made of: by_NAME(task, context), and refused_by_NAME(task), its reason.
#define TROUPE_BY(Name, Task)                    \
  template <class>                               \
  struct Task;                                   \
  template <class T>                             \
  void by_##Name(const Task<T>& task, Context&); \
  template <class T>                             \
  std::string refused_by_##Name(const Task<T>& task);

// `rows` after that of on_cuda(); in double there is none.
template <template <class> class Op, class T>
std::vector<Implementation<Op<T>>> with_cuda(std::vector<Implementation<Op<T>>> rows,
                                             std::string (*refusal)(const Op<T>&) = nullptr) {
  if constexpr (!kInDouble<T>)
    rows.insert(rows.begin(), {"cuda", [](const Op<T>& task, Context& context) { on_cuda(task, context); },
                               Device::kCuda, cuda::unavailable, refusal});
  return rows;
}

// Columns of the widest rows that layer norm's backward pass keeps in registers.
inline constexpr int64_t kWidestNorm = 8192;

// Whether rows begin at multiples of 16 bytes, as libraries and tensor cores want them.
inline bool rows_aligned(const void* data, int64_t stride_bytes) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride_bytes % 16 == 0;
}
template <class... T>
bool rows_aligned(const Matrix<T>&... matrices) {
  return (rows_aligned(matrices.data, matrices.stride * static_cast<int64_t>(sizeof(T))) && ...);
}

}  // namespace troupe
