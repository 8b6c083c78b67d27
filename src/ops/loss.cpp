#include "ops/loss.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/threads.h"
#include "kernels/ref/loss.h"
#include "kernels/table.h"
#include "tensor/host_matrix.h"

namespace troupe {
namespace {

// Tokens whose logits exist at a time; the cut depends on the shape alone. Scores of small vocabularies: what a share
// of a last-level cache holds. Else: enough rows to amortise reading the embedding (and reading and writing its
// gradient), at most 256 MiB.
int64_t tokens_per_block(int64_t T, int64_t V, bool gradient) {
  constexpr int64_t kCachedLogits = int64_t{2} << 20, kLargestLogits = int64_t{64} << 20;
  int64_t tokens = kCachedLogits / V;
  if (gradient || tokens < 256) tokens = std::clamp<int64_t>(kLargestLogits / V, 32, 1024);
  const int64_t blocks = (T + tokens - 1) / tokens;
  return blocks == 0 ? tokens : (T + blocks - 1) / blocks;
}

// Logits of a block of tokens, in memory of the context.
struct Logits {
  Logits(Context& context, int64_t rows, int64_t V)
      : lease(context, rows * V * static_cast<int64_t>(sizeof(float))), matrix(lease.as<float>(), rows, V) {}
  Context::Lease lease;
  HostMatrix<float> matrix;
};

float score(const RowKernels& rows, const float* logits, int64_t V, int32_t target, float& lse) {
  lse = rows.log_sum_exp(logits, V);
  return target < 0 ? 0.0f : lse - logits[target];
}

template <class T>
void divide(T* values, int64_t count, float divisor) {
  for (int64_t v = 0; v < count; ++v) values[v] = T(static_cast<float>(values[v]) / divisor);
}

template <class P>
void blocked(const OutputLoss<P>& task, Context& context) {
  const RowKernels& rows = kernels().rows;
  const int64_t T = task.h_TD.rows, V = task.embed.out(), block = tokens_per_block(T, V, false);
  const Logits logits(context, std::min(T, block), V);
  const HostMatrix<float> logits_BV = logits.matrix;
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    ForwardEpilogue<P> forward;
    forward.out_real = logits_BV.rows_from(0, count);
    forward.dropout.multiplier = 1.0f / static_cast<float>(task.divisor);
    run(LinearForward<P>{task.embed, task.h_TD.rows_from(begin, count), {}, forward}, context);
    parallel_for(count, [&](int64_t i) {
      const size_t t = static_cast<size_t>(begin + i);
      float lse;
      task.nll_T[t] = score(rows, logits_BV.row(i), V, task.targets_T[t], lse);
      if (!task.argmax_T.empty()) task.argmax_T[t] = static_cast<int32_t>(rows.argmax(logits_BV.row(i), V));
    });
  }
}

template <class P>
void blocked(const OutputLossWithGradient<P>& task, Context& context) {
  using operand = typename P::operand;
  const RowKernels& rows = kernels().rows;
  const int64_t T = task.h_TD.rows, V = task.embed.out(), block = tokens_per_block(T, V, true);
  const Logits logits(context, std::min(T, block), V);
  const HostMatrix<float> logits_BV = logits.matrix;
  // The gradient takes the place of the logits: a row of it fills the front of the row it is computed from.
  constexpr int64_t kPerReal = sizeof(float) / sizeof(operand);
  const HostMatrix<operand> dlogits_BV(reinterpret_cast<operand*>(logits_BV.data), logits_BV.rows, V, V * kPerReal);
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    ForwardEpilogue<P> forward;
    forward.out_real = logits_BV.rows_from(0, count);
    forward.dropout.multiplier = 1.0f / static_cast<float>(task.divisor);
    run(LinearForward<P>{task.embed, task.h_TD.rows_from(begin, count), {}, forward}, context);
    parallel_for(count, [&](int64_t i) {
      const size_t t = static_cast<size_t>(begin + i);
      const int32_t target = task.targets_T[t];
      float lse;
      task.nll_T[t] = score(rows, logits_BV.row(i), V, target, lse);
      operand* dlogits = dlogits_BV.row(i);
      if (target < 0) return void(std::fill(dlogits, dlogits + V, operand(0.0f)));
      const float minus_one = std::exp(logits_BV(i, target) - lse) - 1.0f;
      if constexpr (std::is_same_v<operand, float>)
        rows.softmax_f32(logits_BV.row(i), lse, V, dlogits);
      else
        rows.softmax_bf16(logits_BV.row(i), lse, V, dlogits);
      dlogits[target] = operand(minus_one);
      if (task.divisor != 1.0) divide(dlogits, V, static_cast<float>(task.divisor));
    });
    const Matrix<const operand> dlogits_BV_used = dlogits_BV.rows_from(0, count);
    BackwardEpilogue<P> backward;
    backward.out_real = task.dh_TD.rows_from(begin, count);
    run(LinearBackwardInput<P>{task.embed, dlogits_BV_used, {}, backward}, context);
    if (!task.dembed_VD) continue;
    run(LinearBackwardWeight<P>{task.embed, dlogits_BV_used, task.h_TD.rows_from(begin, count), {}, task.dembed_VD},
        context);
  }
}

template <class Task>
std::vector<Implementation<Task>> rows_of_loss(void (*reference)(const Task&, Context&)) {
  if constexpr (std::is_same_v<typename Task::real, double>)
    return {{"ref", reference}};
  else
    return {{"blocked", blocked}, {"ref", reference}};
}

}  // namespace

template <class P>
Implementations<OutputLoss<P>> OutputLoss<P>::implementations() {
  static const auto rows = rows_of_loss<OutputLoss>([](const OutputLoss& task, Context&) { ref::output_loss(task); });
  return rows;
}

template <class P>
Implementations<OutputLossWithGradient<P>> OutputLossWithGradient<P>::implementations() {
  static const auto rows = rows_of_loss<OutputLossWithGradient>(
      [](const OutputLossWithGradient& task, Context&) { ref::output_loss_with_gradient(task); });
  return rows;
}

template struct OutputLoss<F64>;
template struct OutputLoss<F32>;
template struct OutputLoss<Bf16>;
template struct OutputLossWithGradient<F64>;
template struct OutputLossWithGradient<F32>;
template struct OutputLossWithGradient<Bf16>;

}  // namespace troupe
