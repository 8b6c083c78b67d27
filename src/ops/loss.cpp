#include "ops/loss.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <type_traits>

#include "base/threads.h"
#include "kernels/ref/loss.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"
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

// A row of logits for each token from `begin` on.
template <class P>
void logits_of(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD, double divisor, int64_t begin,
               Matrix<float> logits_BV, Context& context) {
  ForwardEpilogue<P> forward;
  forward.out_real = logits_BV;
  forward.dropout.multiplier = 1.0f / static_cast<float>(divisor);
  run(LinearForward<P>{embed, h_TD.rows_from(begin, logits_BV.rows), {}, forward}, context);
}

float score(const RowKernels& rows, const float* logits, int64_t V, int32_t target, float& lse) {
  lse = rows.log_sum_exp(logits, V);
  return target < 0 ? 0.0f : lse - logits[target];
}

template <class T>
void divide(T* values, int64_t count, float divisor) {
  for (int64_t v = 0; v < count; ++v) values[v] = T(static_cast<float>(values[v]) / divisor);
}

// Logits as the loss sees them: of a row that was just computed.
void cap_row(double cap, float* logits, int64_t V) {
  if (cap > 0.0) kernels().logits.soft_cap(static_cast<float>(cap), V, logits);
}

// The gradient of a row of (capped) logits in the place of the row.
template <class P>
void logit_gradient(const OutputLossWithGradient<P>& task, const float* logits, float lse, int64_t V, int32_t target,
                    typename P::operand* dlogits) {
  using operand = typename P::operand;
  const float gain = 1.0f + 2.0f * static_cast<float>(task.z_loss) * lse;
  const float inverse_cap = task.cap > 0.0 ? 1.0f / static_cast<float>(task.cap) : 0.0f;
  const float share = logits[target] * inverse_cap;
  const float of_target = (std::exp(logits[target] - lse) * gain - 1.0f) * (1.0f - share * share);
  if (task.cap > 0.0 || task.z_loss > 0.0) {
    if constexpr (std::is_same_v<operand, float>)
      kernels().logits.gradient_f32(logits, lse, gain, inverse_cap, V, dlogits);
    else
      kernels().logits.gradient_bf16(logits, lse, gain, inverse_cap, V, dlogits);
  } else {
    if constexpr (std::is_same_v<operand, float>)
      kernels().rows.softmax_f32(logits, lse, V, dlogits);
    else
      kernels().rows.softmax_bf16(logits, lse, V, dlogits);
  }
  dlogits[target] = operand(of_target);
}

// Where a teacher's logits and three rows of room for each token of a block are.
template <class P>
struct Taught {
  Taught(const OutputTeacher<P>& teacher, Context& context, int64_t rows, int64_t V)
      : teacher(teacher),
        logits(context, rows, V),
        room(context, 3 * rows, V),
        divergence_B(static_cast<size_t>(rows)) {}

  // The gradient of a row of (capped) logits, which are overwritten.
  void gradient(const OutputLossWithGradient<P>& task, int64_t i, float* l, float lse, int32_t target,
                typename P::operand* dlogits) {
    const RowKernels& rows = kernels().rows;
    const int64_t V = task.embed.out();
    const float alpha = static_cast<float>(teacher.alpha), temperature = static_cast<float>(teacher.temperature);
    const float inverse_cap = task.cap > 0.0 ? 1.0f / static_cast<float>(task.cap) : 0.0f;
    float *const z = logits.matrix.row(i), *const d = room.matrix.row(3 * i);
    float *const soft = room.matrix.row(3 * i + 1), *const q = room.matrix.row(3 * i + 2);
    cap_row(teacher.cap, z, V);
    rows.softmax_f32(l, lse, V, d);
    const float gain = 1.0f - alpha + 2.0f * static_cast<float>(task.z_loss) * lse;
    for (int64_t v = 0; v < V; ++v) d[v] *= gain;
    d[target] -= 1.0f - alpha;
    for (int64_t v = 0; v < V; ++v) z[v] /= temperature;
    for (int64_t v = 0; v < V; ++v) soft[v] = l[v] / temperature;
    const float lse_of_z = rows.log_sum_exp(z, V), lse_of_soft = rows.log_sum_exp(soft, V);
    for (int64_t v = 0; v < V; ++v) l[v] = 1.0f - l[v] * inverse_cap * (l[v] * inverse_cap);
    rows.softmax_f32(z, lse_of_z, V, q);
    double divergence = 0.0;
    for (int64_t v = 0; v < V; ++v) divergence += static_cast<double>(q[v] * (z[v] - lse_of_z - soft[v] + lse_of_soft));
    divergence_B[static_cast<size_t>(i)] = divergence * teacher.temperature * teacher.temperature;
    rows.softmax_f32(soft, lse_of_soft, V, soft);
    for (int64_t v = 0; v < V; ++v) d[v] = (d[v] + alpha * temperature * (soft[v] - q[v])) * l[v];
    for (int64_t v = 0; v < V; ++v) dlogits[v] = typename P::operand(d[v]);
  }

  const OutputTeacher<P>& teacher;
  Logits logits, room;
  std::vector<double> divergence_B;
};

template <class P>
void blocked(const OutputLoss<P>& task, Context& context) {
  const RowKernels& rows = kernels().rows;
  const int64_t T = task.h_TD.rows, V = task.embed.out(), block = tokens_per_block(T, V, false);
  const Logits logits(context, std::min(T, block), V);
  const HostMatrix<float> logits_BV = logits.matrix;
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    logits_of(task.embed, task.h_TD, task.divisor, begin, logits_BV.rows_from(0, count), context);
    parallel_for(count, [&](int64_t i) {
      const size_t t = static_cast<size_t>(begin + i);
      float lse;
      cap_row(task.cap, logits_BV.row(i), V);
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
  const Context::Lease lse_lease(context, block * static_cast<int64_t>(sizeof(float)));
  float* const lse_B = lse_lease.as<float>();
  const OutputTeacher<P>& teacher = task.teacher;
  std::optional<Taught<P>> taught;
  if (teacher.embed) taught.emplace(teacher, context, std::min(T, block), V);
  double squared_lse = 0.0, divergence = 0.0;
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    logits_of(task.embed, task.h_TD, task.divisor, begin, logits_BV.rows_from(0, count), context);
    if (taught)
      logits_of(*teacher.embed, teacher.h_TD, teacher.divisor, begin, taught->logits.matrix.rows_from(0, count),
                context);
    parallel_for(count, [&](int64_t i) {
      const size_t t = static_cast<size_t>(begin + i);
      const int32_t target = task.targets_T[t];
      float& lse = lse_B[i];
      cap_row(task.cap, logits_BV.row(i), V);
      task.nll_T[t] = score(rows, logits_BV.row(i), V, target, lse);
      operand* dlogits = dlogits_BV.row(i);
      if (target < 0) return void(std::fill(dlogits, dlogits + V, operand(0.0f)));
      if (taught)
        taught->gradient(task, i, logits_BV.row(i), lse, target, dlogits);
      else
        logit_gradient<P>(task, logits_BV.row(i), lse, V, target, dlogits);
      if (task.divisor != 1.0) divide(dlogits, V, static_cast<float>(task.divisor));
    });
    for (int64_t i = 0; i < count; ++i)
      if (task.targets_T[static_cast<size_t>(begin + i)] >= 0) {
        squared_lse += static_cast<double>(lse_B[i]) * static_cast<double>(lse_B[i]);
        if (taught) divergence += taught->divergence_B[static_cast<size_t>(i)];
      }
    const Matrix<const operand> dlogits_BV_used = dlogits_BV.rows_from(0, count);
    BackwardEpilogue<P> backward;
    backward.out_real = task.dh_TD.rows_from(begin, count);
    run(LinearBackwardInput<P>{task.embed, dlogits_BV_used, {}, backward}, context);
    if (!task.dembed_VD) continue;
    run(
        LinearBackwardWeight<P>{
            task.embed, dlogits_BV_used, task.h_TD.rows_from(begin, count), {}, task.dembed_VD, task.dbias_V},
        context);
  }
  if (task.squared_lse) *task.squared_lse = squared_lse;
  if (taught) *teacher.divergence = divergence;
}

// CUDA's row has none.
template <class P>
std::string without_teacher(const OutputLossWithGradient<P>& task) {
  return task.teacher.embed ? "a teacher" : "";
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
  static const auto rows = with_cuda(
      rows_of_loss<OutputLoss>([](const OutputLoss& task, Context&) { ref::output_loss(task); }));
  return rows;
}

template <class P>
Implementations<OutputLossWithGradient<P>> OutputLossWithGradient<P>::implementations() {
  static const auto rows = with_cuda(rows_of_loss<OutputLossWithGradient>(
      [](const OutputLossWithGradient& task, Context&) { ref::output_loss_with_gradient(task); }), without_teacher);
  return rows;
}

template <class Real>
Implementations<SoftCap<Real>> SoftCap<Real>::implementations() {
  static const Implementation<SoftCap> reference{"ref", [](const SoftCap& task, Context&) { ref::soft_cap(task); }};
  if constexpr (std::is_same_v<Real, double>) {
    static const Implementation<SoftCap> rows[] = {reference};
    return rows;
  } else {
    const auto by_rows = [](const SoftCap& task, Context&) {
      const HostMatrix<float> logits = task.logits;
      parallel_for(logits.rows, [&](int64_t i) { cap_row(task.cap, logits.row(i), logits.cols); });
    };
    static const auto rows = with_cuda<troupe::SoftCap, Real>({{"rows", by_rows}, reference});
    return rows;
  }
}

template struct SoftCap<double>;
template struct SoftCap<float>;
template struct OutputLoss<F64>;
template struct OutputLoss<F32>;
template struct OutputLoss<Bf16>;
template struct OutputLossWithGradient<F64>;
template struct OutputLossWithGradient<F32>;
template struct OutputLossWithGradient<Bf16>;

}  // namespace troupe
