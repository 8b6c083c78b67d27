#include "ops/rms_norm.h"

#include "base/threads.h"
#include "kernels/ref/rms_norm.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"
#include "ops/dropout_rows.h"

namespace troupe {
namespace {

constexpr int64_t kRmsTokenChunk = 64;  // the cut of sums over tokens, whatever the number of threads

template <class T>
Matrix<T> rows_or_none(const Matrix<T>& matrix, int64_t begin, int64_t count) {
  return matrix ? matrix.rows_from(begin, count) : matrix;
}

template <class P>
void normalise(Isa level, const RmsNormForward<P>& task, Context&) {
  const RmsNormKernels& rms_norm = kernels(level).rms_norm;
  parallel_chunks(task.x_TD.rows, kRmsTokenChunk, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const RmsNormForwardTask<float, typename P::operand> rows = {task.x_TD.rows_from(begin, count),
                                                                 task.gamma_D.data(),
                                                                 task.x_TD.cols,
                                                                 static_cast<float>(task.epsilon),
                                                                 rows_or_none(task.y_TD, begin, count),
                                                                 rows_or_none(task.y_real_TD, begin, count),
                                                                 task.rstd_T.empty() ? nullptr : &task.rstd_T[begin]};
    if constexpr (std::is_same_v<P, F32>)
      rms_norm.forward_f32(rows);
    else
      rms_norm.forward_bf16(rows);
  });
}

// kernel(begin, count, sums) for chunks of tokens; the chunks' sums [C] are then added to dgamma in order.
template <class Kernel>
void add_chunks(int64_t T, int64_t C, std::span<float> dgamma_C, Context& context, const Kernel& kernel) {
  const int64_t num_parts = (T + kRmsTokenChunk - 1) / kRmsTokenChunk;
  const Context::Lease lease(context, num_parts * C * static_cast<int64_t>(sizeof(float)));
  float* const parts = lease.as<float>();
  parallel_chunks(T, kRmsTokenChunk, [&](int64_t begin, int64_t end) {
    kernel(begin, end - begin, parts + begin / kRmsTokenChunk * C);
  });
  if (dgamma_C.empty()) return;
  parallel_chunks(C, 256, [&](int64_t begin, int64_t end) {
    for (int64_t part = 0; part < num_parts; ++part)
      for (int64_t c = begin; c < end; ++c) dgamma_C[static_cast<size_t>(c)] += parts[part * C + c];
  });
}

template <class P>
void normalise(Isa level, const RmsNormBackward<P>& task, Context& context) {
  const RmsNormKernels& rms_norm = kernels(level).rms_norm;
  add_chunks(task.x_TD.rows, task.x_TD.cols, task.dgamma_D, context, [&](int64_t begin, int64_t count, float* sums) {
    rms_norm.backward({task.x_TD.rows_from(begin, count), task.gamma_D.data(), &task.rstd_T[begin], task.x_TD.cols,
                       task.dy_TD.rows_from(begin, count), task.dx_TD.rows_from(begin, count), sums});
    round_rows_at<P>(level, task.dx_TD, begin, begin + count, task.rounded);
  });
}

template <class Task>
int64_t heads_of(const Task& task) {
  return task.x_TNC.cols / static_cast<int64_t>(task.gamma_C.size());
}

template <class P>
void normalise(Isa level, const HeadNormForward<P>& task, Context&) {
  using operand = typename P::operand;
  const RmsNormKernels& rms_norm = kernels(level).rms_norm;
  parallel_chunks(task.x_TNC.rows, kRmsTokenChunk, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const RmsNormForwardTask<operand, operand> rows = {task.x_TNC.rows_from(begin, count),
                                                       task.gamma_C.data(),
                                                       static_cast<int64_t>(task.gamma_C.size()),
                                                       static_cast<float>(task.epsilon),
                                                       task.y_TNC.rows_from(begin, count),
                                                       {},
                                                       &task.rstd_TN[begin * heads_of(task)]};
    if constexpr (std::is_same_v<P, F32>)
      rms_norm.heads_forward_f32(rows);
    else
      rms_norm.heads_forward_bf16(rows);
  });
}

template <class P>
void normalise(Isa level, const HeadNormBackward<P>& task, Context& context) {
  const RmsNormKernels& rms_norm = kernels(level).rms_norm;
  const auto C = static_cast<int64_t>(task.gamma_C.size());
  add_chunks(task.x_TNC.rows, C, task.dgamma_C, context, [&](int64_t begin, int64_t count, float* sums) {
    const Matrix<typename P::operand> dy = task.dy_TNC.rows_from(begin, count);
    const RmsNormBackwardTask<typename P::operand> rows = {task.x_TNC.rows_from(begin, count), task.gamma_C.data(),
                                                           &task.rstd_TN[begin * heads_of(task)], C, dy, dy, sums};
    if constexpr (std::is_same_v<P, F32>)
      rms_norm.heads_backward_f32(rows);
    else
      rms_norm.heads_backward_bf16(rows);
  });
}

constexpr auto kRmsNormAt = [](Isa level, const auto& task, Context& context) { normalise(level, task, context); };

}  // namespace

template <class P>
Implementations<RmsNormForward<P>> RmsNormForward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<RmsNormForward>(VectorLevels<P>(), kRmsNormAt, [](const auto& task) { ref::rms_norm_forward(task); }));
  return rows;
}

template <class P>
Implementations<RmsNormBackward<P>> RmsNormBackward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<RmsNormBackward>(VectorLevels<P>(), kRmsNormAt, [](const auto& task) { ref::rms_norm_backward(task); }));
  return rows;
}

template <class P>
Implementations<HeadNormForward<P>> HeadNormForward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<HeadNormForward>(VectorLevels<P>(), kRmsNormAt, [](const auto& task) { ref::head_norm_forward(task); }));
  return rows;
}

template <class P>
Implementations<HeadNormBackward<P>> HeadNormBackward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<HeadNormBackward>(VectorLevels<P>(), kRmsNormAt,
                                [](const auto& task) { ref::head_norm_backward(task); }));
  return rows;
}

#define TROUPE_INSTANTIATE(P)         \
  template struct RmsNormForward<P>;  \
  template struct RmsNormBackward<P>; \
  template struct HeadNormForward<P>; \
  template struct HeadNormBackward<P>;
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
