#include "ops/gate.h"

#include "base/threads.h"
#include "kernels/ref/gate.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

constexpr int64_t kGateRows = 16;

template <class P>
void gated(Isa level, const GateForward<P>& task, Context&) {
  parallel_chunks(task.hidden_RF.rows, kGateRows, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const GateTask<typename P::operand> rows = {
        task.activation, task.z_R2F.rows_from(begin, count), task.hidden_RF.rows_from(begin, count), {}, {}};
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).gate.forward_f32(rows);
    else
      kernels(level).gate.forward_bf16(rows);
  });
}

template <class P>
void gated(Isa level, const GateBackward<P>& task, Context&) {
  parallel_chunks(task.dhidden_RF.rows, kGateRows, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const GateTask<typename P::operand> rows = {task.activation,
                                                task.z_R2F.rows_from(begin, count),
                                                {},
                                                task.dhidden_RF.rows_from(begin, count),
                                                task.dz_R2F.rows_from(begin, count)};
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).gate.backward_f32(rows);
    else
      kernels(level).gate.backward_bf16(rows);
  });
}

constexpr auto kGateAt = [](Isa level, const auto& task, Context& context) { gated(level, task, context); };

}  // namespace

template <class P>
Implementations<GateForward<P>> GateForward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<GateForward>(VectorLevels<P>(), kGateAt, [](const auto& task) { ref::gate_forward(task); }));
  return rows;
}

template <class P>
Implementations<GateBackward<P>> GateBackward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<GateBackward>(VectorLevels<P>(), kGateAt, [](const auto& task) { ref::gate_backward(task); }));
  return rows;
}

template struct GateForward<F64>;
template struct GateForward<F32>;
template struct GateForward<Bf16>;
template struct GateBackward<F64>;
template struct GateBackward<F32>;
template struct GateBackward<Bf16>;

}  // namespace troupe
