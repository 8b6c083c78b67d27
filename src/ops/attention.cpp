#include "ops/attention.h"

#include "kernels/attention_blocked.h"
#include "kernels/ref/attention.h"
#include "kernels/table.h"
#include "ops/cuda/attention.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class P>
void blocked(Isa level, const AttentionForward<P>& task, Context& context) {
  blocked_attention_forward<P>(kernels(level).attention, task.shape, {task.q_THC, task.k_TGC, task.v_TGC}, task.ctx_THC,
                               task.lse_BHS, context);
}

template <class P>
void blocked(Isa level, const AttentionBackward<P>& task, Context& context) {
  blocked_attention_backward<P>(kernels(level).attention, task.shape, {task.q_THC, task.k_TGC, task.v_TGC},
                                task.ctx_THC, task.lse_BHS, task.dctx_THC, {task.dq_THC, task.dk_TGC, task.dv_TGC},
                                context);
}

template <class P>
void blocked(Isa level, const AttentionDecode<P>& task, Context& context) {
  blocked_attention_decode<P>(kernels(level).attention, task.heads, task.sequences, context);
}

template <class Task>
std::string refuses_wide(const Task& task) {
  if constexpr (requires { task.shape; })
    return refuses_wide_heads(task.shape.heads.C);
  else
    return refuses_wide_heads(task.heads.C);
}

constexpr auto kBlocked = [](Isa level, const auto& task, Context& context) { blocked(level, task, context); };

}  // namespace

template <class P>
Implementations<AttentionForward<P>> AttentionForward<P>::implementations() {
  static const auto rows = with_cudnn(with_tiles(with_cuda(
      rows_at<AttentionForward>(ProductLevels<P>(), kBlocked, [](const auto& task) { ref::attention_forward(task); }),
      refuses_wide<AttentionForward<P>>)));
  return rows;
}

template <class P>
Implementations<AttentionBackward<P>> AttentionBackward<P>::implementations() {
  static const auto rows = with_cudnn(with_tiles(with_cuda(
      rows_at<AttentionBackward>(ProductLevels<P>(), kBlocked, [](const auto& task) { ref::attention_backward(task); }),
      refuses_wide<AttentionBackward<P>>)));
  return rows;
}

template <class P>
Implementations<AttentionDecode<P>> AttentionDecode<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<AttentionDecode>(ProductLevels<P>(), kBlocked, [](const auto& task) { ref::attention_decode(task); }),
      refuses_wide<AttentionDecode<P>>);
  return rows;
}

template struct AttentionForward<F64>;
template struct AttentionForward<F32>;
template struct AttentionForward<Bf16>;
template struct AttentionBackward<F64>;
template struct AttentionBackward<F32>;
template struct AttentionBackward<Bf16>;
template struct AttentionDecode<F64>;
template struct AttentionDecode<F32>;
template struct AttentionDecode<Bf16>;

}  // namespace troupe
