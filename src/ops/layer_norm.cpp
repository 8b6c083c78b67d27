#include "ops/layer_norm.h"

#include <fmt/core.h>

#include "base/threads.h"
#include "kernels/ref/layer_norm.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"
#include "ops/dropout_rows.h"

namespace troupe {
namespace {

constexpr int64_t kTokenChunk = 64;  // the cut of sums over tokens, whatever the number of threads

template <class P>
void vectorized(Isa level, const LayerNormForward<P>& task, Context&) {
  const auto& layer_norm = kernels(level).layer_norm;
  parallel_chunks(task.x_TD.rows, kTokenChunk, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const LayerNormForwardTask<typename P::operand> rows = {
        task.x_TD.rows_from(begin, count),
        task.gamma_D.data(),
        task.beta_D.empty() ? nullptr : task.beta_D.data(),
        static_cast<float>(task.epsilon),
        task.y_TD ? task.y_TD.rows_from(begin, count) : task.y_TD,
        task.y_real_TD ? task.y_real_TD.rows_from(begin, count) : task.y_real_TD,
        task.mean_T.empty() ? nullptr : task.mean_T.data() + begin,
        task.rstd_T.empty() ? nullptr : task.rstd_T.data() + begin,
    };
    if constexpr (std::is_same_v<P, F32>)
      layer_norm.forward_f32(rows);
    else
      layer_norm.forward_bf16(rows);
  });
}

// Adds the rows of parts_ND to sum_D in order, columns in parallel.
void add_parts(const float* parts_ND, int64_t num_parts, int64_t stride, std::span<float> sum_D) {
  parallel_chunks(static_cast<int64_t>(sum_D.size()), 256, [&](int64_t begin, int64_t end) {
    for (int64_t part = 0; part < num_parts; ++part)
      for (int64_t d = begin; d < end; ++d) sum_D[static_cast<size_t>(d)] += parts_ND[part * stride + d];
  });
}

template <class P>
void vectorized(Isa level, const LayerNormBackward<P>& task, Context& context) {
  const auto& layer_norm = kernels(level).layer_norm;
  const int64_t D = task.x_TD.cols, num_parts = (task.x_TD.rows + kTokenChunk - 1) / kTokenChunk;
  const Context::Lease lease(context, 2 * num_parts * D * static_cast<int64_t>(sizeof(float)));
  float* const parts = lease.as<float>();
  parallel_chunks(task.x_TD.rows, kTokenChunk, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    float* sums = parts + begin / kTokenChunk * 2 * D;
    layer_norm.backward({task.x_TD.rows_from(begin, count), task.gamma_D.data(), task.mean_T.data() + begin,
                         task.rstd_T.data() + begin, task.dy_TD.rows_from(begin, count),
                         task.dx_TD.rows_from(begin, count), sums, sums + D});
    round_rows_at<P>(level, task.dx_TD, begin, end, task.rounded);
  });
  add_parts(parts, num_parts, 2 * D, task.dgamma_D);
  add_parts(parts + D, num_parts, 2 * D, task.dbeta_D);
}

template <class P>
std::string refuses_wide(const LayerNormBackward<P>& task) {
  const int64_t D = task.x_TD.cols;
  return D <= kWidestNorm ? "" : fmt::format("rows have {} columns, more than {}", D, kWidestNorm);
}

constexpr auto kLayerNormAt = [](Isa level, const auto& task, Context& context) { vectorized(level, task, context); };

}  // namespace

template <class P>
Implementations<LayerNormForward<P>> LayerNormForward<P>::implementations() {
  static const auto rows = with_cuda(rows_at<LayerNormForward>(
      VectorLevels<P>(), kLayerNormAt, [](const auto& task) { ref::layer_norm_forward(task); }));
  return rows;
}

template <class P>
Implementations<LayerNormBackward<P>> LayerNormBackward<P>::implementations() {
  static const auto rows =
      with_cuda(rows_at<LayerNormBackward>(VectorLevels<P>(), kLayerNormAt,
                                           [](const auto& task) { ref::layer_norm_backward(task); }),
                refuses_wide);
  return rows;
}

template struct LayerNormForward<F64>;
template struct LayerNormForward<F32>;
template struct LayerNormForward<Bf16>;
template struct LayerNormBackward<F64>;
template struct LayerNormBackward<F32>;
template struct LayerNormBackward<Bf16>;

}  // namespace troupe
