// Attention by cuDNN. Refused, and so left to our own kernels, is what it has not (our dropout, masks of single keys)
// or what it wants aligned and is not. Nothing is copied: its strides reach into the matrices at hand.
#include "ops/cuda/cudnn.h"

#include <algorithm>

#include "kernels/cuda/switches.h"
#include "ops/attention.h"

namespace troupe {
namespace {

constexpr int64_t kDnnWidestHead = 256;
constexpr int64_t kDnnBackwardBytes = int64_t{1} << 30;

// A task in the library's words, and where its tensors are.
struct DnnTask {
  cuda::DnnAttention attention;
  cuda::DnnData data{};

  template <class T>
  void set(cuda::DnnTensor tensor, const Matrix<T>& matrix) {
    const auto at = static_cast<size_t>(tensor);
    data[at] = const_cast<void*>(static_cast<const void*>(matrix.data));
    attention.strides[at] = matrix.stride;
  }
};

template <class Task>
DnnTask dnn_task(const Task& task) {
  const AttentionShape& shape = task.shape;
  const AttentionHeads& heads = shape.heads;
  DnnTask described;
  described.attention = {.B = shape.B,
                         .S = shape.S,
                         .H = heads.H,
                         .G = heads.G,
                         .C = heads.C,
                         .window = heads.window,
                         .scale = static_cast<float>(heads.scale)};
  described.set(cuda::kDnnQ, task.q_THC);
  described.set(cuda::kDnnK, task.k_TGC);
  described.set(cuda::kDnnV, task.v_TGC);
  described.set(cuda::kDnnCtx, task.ctx_THC);
  described.data[cuda::kDnnLse] = const_cast<float*>(static_cast<const float*>(task.lse_BHS.data()));
  if constexpr (requires { task.dctx_THC; }) {
    described.attention.backward = true;
    described.attention.deterministic = is_deterministic();
    described.set(cuda::kDnnDctx, task.dctx_THC);
    described.set(cuda::kDnnDq, task.dq_THC);
    described.set(cuda::kDnnDk, task.dk_TGC);
    described.set(cuda::kDnnDv, task.dv_TGC);
  }
  return described;
}

// Of one call.
int64_t sequences_at_a_time(const cuda::DnnAttention& all) {
  return all.backward && all.deterministic ? dnn_backward_sequences(all.B, all.S, all.H) : all.B;
}

template <class Task>
std::string dnn_reason_against(const Task& task) {
  const AttentionShape& shape = task.shape;
  const int64_t C = shape.heads.C;
  if (shape.B == 0 || shape.S == 0) return "there are no tokens";
  if (shape.dropout.active() || shape.dropout.multiplier != 1.0f) return "cuDNN draws other dropout masks than ours";
  if (!shape.key_valid.empty()) return "cuDNN takes no mask of single keys";
  if (!shape.key_end.empty()) return "cuDNN takes no texts within a sequence";
  if (C % 8 != 0) return fmt::format("heads have {} columns, not a multiple of 8", C);
  if (C > kDnnWidestHead) return fmt::format("heads have {} columns, more than {}", C, kDnnWidestHead);
  DnnTask described = dnn_task(task);
  for (size_t tensor = 0; tensor < described.data.size(); ++tensor)
    if (tensor != cuda::kDnnLse &&
        !rows_aligned(described.data[tensor], described.attention.strides[tensor] * static_cast<int64_t>(sizeof(bf16))))
      return "cuDNN wants rows that start at multiples of 16 bytes";
  described.attention.B = sequences_at_a_time(described.attention);
  return cuda::dnn_refusal(described.attention);
}

template <class Task>
void run_by_cudnn(const Task& task, Context& context) {
  const DnnTask whole = dnn_task(task);
  const cuda::DnnAttention& all = whole.attention;
  const int64_t at_a_time = sequences_at_a_time(all);
  for (int64_t first = 0; first < all.B; first += at_a_time) {
    DnnTask part = whole;
    part.attention.B = std::min(at_a_time, all.B - first);
    for (size_t tensor = 0; tensor < part.data.size(); ++tensor) {
      const int64_t bytes = tensor == cuda::kDnnLse ? all.H * all.S * 4 : all.S * all.strides[tensor] * 2;
      if (part.data[tensor]) part.data[tensor] = static_cast<std::byte*>(part.data[tensor]) + first * bytes;
    }
    cuda::dnn_attention(part.attention, part.data, context);
  }
}

}  // namespace

bool is_deterministic() { return cuda::value_of(cuda::kDeterministicSwitch) != "0"; }

int64_t dnn_backward_sequences(int64_t B, int64_t S, int64_t H) {
  const int64_t most = std::max<int64_t>(1, kDnnBackwardBytes / (H * S * S * 2));
  const int64_t calls = (B + most - 1) / most;
  return (B + calls - 1) / calls;
}

template <class P>
std::string refused_by_cudnn(const AttentionForward<P>& task) {
  return dnn_reason_against(task);
}
template <class P>
std::string refused_by_cudnn(const AttentionBackward<P>& task) {
  return dnn_reason_against(task);
}
template <class P>
void by_cudnn(const AttentionForward<P>& task, Context& context) {
  run_by_cudnn(task, context);
}
template <class P>
void by_cudnn(const AttentionBackward<P>& task, Context& context) {
  run_by_cudnn(task, context);
}

#define TROUPE_INSTANTIATE(P)                                         \
  template std::string refused_by_cudnn(const AttentionForward<P>&);  \
  template std::string refused_by_cudnn(const AttentionBackward<P>&); \
  template void by_cudnn(const AttentionForward<P>&, Context&);       \
  template void by_cudnn(const AttentionBackward<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
