// Elementwise passes, norms, embedding, rotary positions and Adam on the device.
#include <algorithm>
#include <numeric>

#include "kernels/ref/positions.h"
#include "kernels/ref/rotary.h"
#include "ops/adam.h"
#include "ops/cuda/row.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gate.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "ops/rotary.h"

namespace troupe {

namespace {

constexpr int kMostNormFours = 8;  // of kernels.inc
static_assert(cuda::LayerNormBackwardKernel<float, kMostNormFours>::kMostColumns == kWidestNorm);

template <class T>
T* data_or_null(std::span<T> values) {
  return values.empty() ? nullptr : values.data();
}

// Whether a kernel that makes dx rounds it, too: masks are a pass of their own, as their code would take its registers.
template <class P>
bool rounds_on_its_way(const RoundedGradient<P>* rounded) {
  return rounded && rounded->dy_TD && !rounded->dropout.active();
}

// Launches a kernel that makes dx, and what is asked for of it.
template <class P, class Kernel>
void launch_rounding(Kernel kernel, Matrix<const float> dx, const RoundedGradient<P>* rounded) {
  const bool in_kernel = rounds_on_its_way(rounded);
  if (in_kernel) kernel.rounded_dx = cuda::view(rounded->dy_TD), kernel.multiplier = rounded->dropout.multiplier;
  cuda::launch(kernel);
  if (rounded && rounded->dy_TD && !in_kernel)
    cuda::launch(cuda::DropoutBackwardKernel<typename P::operand>{cuda::view(dx), rounded->dropout,
                                                                  cuda::view(rounded->dy_TD)});
}

}  // namespace

template <class T>
void on_cuda(const Fill<T>& task, Context&) {
  cuda::launch(cuda::FillKernel<T>{cuda::view(task.x), task.value});
}

template <class T>
void on_cuda(const Copy<T>& task, Context&) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  const auto& [src, dst] = task;
  if (dst.rows == 0 || dst.cols == 0) return;
  const bool flat = src.stride == dst.cols && dst.stride == dst.cols;
  cuda::machine()->copy(src.data, src.stride * kSize, dst.data, dst.stride * kSize,
                        dst.cols * kSize * (flat ? dst.rows : 1), flat ? 1 : dst.rows);
}

// On the host: it is about to read the sum.
template <class Real>
void on_cuda(const Sum<Real>& task, Context&) {
  const auto count = static_cast<int64_t>(task.values.size());
  const Later<double> sum = [values = cuda::Fetched<Real>(task.values.data(), count)] {
    return std::accumulate(values.get().begin(), values.get().end(), 0.0);
  };
  if (task.later)
    *task.later = sum;
  else
    *task.sum = sum();
}

template <class P>
void on_cuda(const DropoutBackward<P>& task, Context&) {
  cuda::DropoutBackwardKernel<typename P::operand> kernel{cuda::view(task.dx), task.dropout, cuda::view(task.dy)};
  if (!task.dropout.active()) cuda::flatten(kernel.dx, kernel.dy);  // no mask depends on the row
  cuda::launch(kernel);
}

template <class P>
void on_cuda(const DropRows<P>& task, Context&) {
  using operand = typename P::operand;
  cuda::launch(cuda::DropoutBackwardKernel<operand, operand>{cuda::view(task.x), task.dropout, cuda::view(task.y)});
}

template <class P>
void on_cuda(const LayerNormForward<P>& task, Context&) {
  cuda::launch(cuda::LayerNormForwardKernel<typename P::operand>{
      .x = cuda::view(task.x_TD),
      .gamma = task.gamma_D.data(),
      .beta = task.beta_D.empty() ? nullptr : task.beta_D.data(),
      .epsilon = task.epsilon,
      .y = cuda::view(task.y_TD),
      .y_real = cuda::view(task.y_real_TD),
      .mean_T = task.mean_T.empty() ? nullptr : task.mean_T.data(),
      .rstd_T = task.rstd_T.empty() ? nullptr : task.rstd_T.data(),
  });
}

namespace {

template <int kFours, class P>
void layer_norm_backward(const LayerNormBackward<P>& task, Context& context) {
  using Kernel = cuda::LayerNormBackwardKernel<typename P::operand, kFours>;
  const int64_t D = task.x_TD.cols;
  if constexpr (2 * kFours <= kMostNormFours)
    if (D > Kernel::kMostColumns) return layer_norm_backward<2 * kFours>(task, context);
  const bool sums_rounded = Kernel::kSumsRounded && rounds_on_its_way(task.rounded) && task.rounded->bias.db;
  Kernel kernel{.x = cuda::view(task.x_TD),
                .gamma = task.gamma_D.data(),
                .mean_T = task.mean_T.data(),
                .rstd_T = task.rstd_T.data(),
                .dy = cuda::view(task.dy_TD),
                .dx = cuda::view(task.dx_TD),
                .rounded_dx = {},
                .multiplier = 1.0f,
                .parts = nullptr,
                .num_sums = sums_rounded ? 3 : 2};
  const bool has_sums = !task.dgamma_D.empty() || !task.dbeta_D.empty() || sums_rounded;
  const Context::Lease lease(context, kernel.chunks() * kernel.num_sums * D * static_cast<int64_t>(sizeof(float)));
  if (has_sums) kernel.parts = lease.as<float>();
  launch_rounding(kernel, task.dx_TD, task.rounded);
  if (!has_sums) return;
  cuda::AddPartsKernel add{kernel.parts, kernel.chunks(), D, kernel.num_sums,
                           {data_or_null(task.dgamma_D), data_or_null(task.dbeta_D), nullptr}};
  if (sums_rounded) add.sums[2] = task.rounded->bias.db, task.rounded->bias.added = true;
  cuda::launch(add);
}

}  // namespace

template <class P>
void on_cuda(const LayerNormBackward<P>& task, Context& context) {
  layer_norm_backward<1>(task, context);
}

namespace {

// dgamma of RMSNorm; to come before dx, which may go where dy is.
template <class T, class operand>
void add_rms_norm_parts(const cuda::RmsNormBackwardKernel<T, operand>& kernel, std::span<float> dgamma,
                        Context& context) {
  if (dgamma.empty()) return;
  cuda::RmsNormPartsKernel<T> parts{kernel.size, kernel.x, kernel.rstd, kernel.dy, nullptr};
  const int64_t C = kernel.size.C;
  const Context::Lease lease(context, parts.chunks() * C * static_cast<int64_t>(sizeof(float)));
  parts.parts = lease.as<float>();
  cuda::launch(parts);
  cuda::launch(cuda::AddPartsKernel{parts.parts, parts.chunks(), C, 1, {dgamma.data()}});
}

template <class Task>
cuda::HeadsOfRows heads_of_rows(const Task& task) {
  const auto C = static_cast<int64_t>(task.gamma_C.size());
  return {task.x_TNC.rows, task.x_TNC.cols / C, C};
}

}  // namespace

template <class P>
void on_cuda(const RmsNormForward<P>& task, Context&) {
  cuda::launch(cuda::RmsNormForwardKernel<float, typename P::operand>{{task.x_TD.rows, 1, task.x_TD.cols},
                                                                      cuda::view(task.x_TD),
                                                                      task.gamma_D.data(),
                                                                      static_cast<float>(task.epsilon),
                                                                      cuda::view(task.y_TD),
                                                                      cuda::view(task.y_real_TD),
                                                                      data_or_null(task.rstd_T)});
}

template <class P>
void on_cuda(const RmsNormBackward<P>& task, Context& context) {
  cuda::RmsNormBackwardKernel<float, typename P::operand> kernel{{task.x_TD.rows, 1, task.x_TD.cols},
                                                                 cuda::view(task.x_TD),
                                                                 task.gamma_D.data(),
                                                                 task.rstd_T.data(),
                                                                 cuda::view(task.dy_TD),
                                                                 cuda::view(task.dx_TD),
                                                                 true};
  add_rms_norm_parts(kernel, task.dgamma_D, context);
  launch_rounding(kernel, task.dx_TD, task.rounded);
}

template <class P>
void on_cuda(const HeadNormForward<P>& task, Context&) {
  using operand = typename P::operand;
  cuda::launch(cuda::RmsNormForwardKernel<operand, operand>{heads_of_rows(task),
                                                            cuda::view(task.x_TNC),
                                                            task.gamma_C.data(),
                                                            static_cast<float>(task.epsilon),
                                                            cuda::view(task.y_TNC),
                                                            {},
                                                            data_or_null(task.rstd_TN)});
}

template <class P>
void on_cuda(const HeadNormBackward<P>& task, Context& context) {
  using operand = typename P::operand;
  const cuda::RmsNormBackwardKernel<operand, operand> kernel{heads_of_rows(task),
                                                             cuda::view(task.x_TNC),
                                                             task.gamma_C.data(),
                                                             task.rstd_TN.data(),
                                                             cuda::view(Matrix<const operand>(task.dy_TNC)),
                                                             cuda::view(task.dy_TNC),
                                                             false};
  add_rms_norm_parts(kernel, task.dgamma_C, context);
  cuda::launch(kernel);
}

template <class Real>
void on_cuda(const Add<Real>& task, Context&) {
  cuda::AddKernel kernel{cuda::view(task.a), cuda::view(task.b), cuda::view(task.out)};
  cuda::flatten(kernel.a, kernel.b, kernel.out);
  cuda::launch(kernel);
}

template <class P>
void on_cuda(const GateForward<P>& task, Context&) {
  cuda::launch(cuda::GateForwardKernel<typename P::operand>{task.activation, cuda::view(task.z_R2F),
                                                            cuda::view(task.hidden_RF)});
}

template <class P>
void on_cuda(const GateBackward<P>& task, Context&) {
  cuda::launch(cuda::GateBackwardKernel<typename P::operand>{task.activation, cuda::view(task.z_R2F),
                                                             cuda::view(task.dhidden_RF), cuda::view(task.dz_R2F)});
}

template <class P>
void on_cuda(const Rotary<P>& task, Context&) {
  cuda::launch(cuda::RotaryKernel<typename P::operand>{cuda::view(task.x_TNC), task.C, task.positions_T.data(),
                                                       cuda::view(task.table_PR), task.backward ? -1.0f : 1.0f});
}

template <class P>
void on_cuda(const EmbeddingForward<P>& task, Context&) {
  cuda::launch(cuda::EmbeddingForwardKernel{task.tokens_T.data(), task.positions_T.data(), cuda::view(task.embed_VD),
                                            cuda::view(task.positions_PD), static_cast<float>(task.scale), task.dropout,
                                            cuda::view(task.x_TD)});
}

template <class P>
void on_cuda(const EmbeddingBackward<P>& task, Context& context) {
  const int64_t T = task.dx_TD.rows;
  cuda::CountBeforeKernel count{nullptr, T, nullptr};
  const Context::Lease lease(context, T * static_cast<int64_t>(sizeof(int32_t)));
  const Context::Lease before(context, count.chunks() * T * static_cast<int64_t>(sizeof(int32_t)));
  count.before = before.as<int32_t>();
  const auto scatter_add = [&](std::span<const int32_t> ids_T, int64_t skip, double scale, Matrix<float> table) {
    if (!table) return;
    count.ids_T = ids_T.data();
    cuda::launch(count);
    cuda::launch(cuda::RankIdsKernel{count.before, count.chunks(), T, lease.as<int32_t>()});
    cuda::launch(cuda::ScatterAddKernel{ids_T.data(), lease.as<int32_t>(), skip, static_cast<float>(scale),
                                        task.dropout, cuda::view(task.dx_TD), cuda::view(table)});
  };
  scatter_add(task.tokens_T, task.pad_id, task.scale, task.dembed_VD);
  scatter_add(task.positions_T, task.pad_position, 1.0, task.dpositions_PD);
}

// Tables are made by the host, once: the bits of sines are their meaning. write(matrix of the host) fills it.
template <class Real, class Write>
void copy_table(Matrix<Real> table, const Write& write) {
  std::vector<Real> values(static_cast<size_t>(table.rows * table.cols));
  const Matrix<Real> made(values.data(), table.rows, table.cols);
  write(made);
  on_cuda(Copy<Real>{made, table}, Context::of_this_thread());
}

template <class Real>
void on_cuda(const SinusoidalPositions<Real>& task, Context&) {
  copy_table(task.table_PD, [](Matrix<Real> made) { ref::sinusoidal_positions(SinusoidalPositions<Real>{made}); });
}

template <class Real>
void on_cuda(const RotaryTable<Real>& task, Context&) {
  copy_table(task.table_PR, [&](Matrix<Real> made) {
    ref::rotary_table(RotaryTable<Real>{task.frequencies, task.factor, task.first, made});
  });
}

template <class Real>
void on_cuda(const AdamUpdate<Real>& task, Context&) {
  cuda::launch(cuda::AdamKernel{adam_coefficients(task.step, task.grad_scale), task.g.data(),
                                static_cast<int64_t>(task.p.size()), task.p.data(), task.m.data(), task.v.data()});
}

template <class Real>
void on_cuda(const AdamUpdateBf16<Real>& task, Context&) {
  cuda::launch(cuda::AdamBf16Kernel{adam_coefficients(task.step, task.grad_scale), task.g.data(),
                                    static_cast<int64_t>(task.p.size()), task.p.data(), task.m.data(), task.v.data(),
                                    task.key, task.first});
}

template <class Real>
void on_cuda(const SumOfSquares<Real>& task, Context& context) {
  cuda::SumOfSquaresKernel kernel{task.values.data(), static_cast<int64_t>(task.values.size()), nullptr};
  std::vector<double> sums(static_cast<size_t>(kernel.blocks()));
  const Context::Lease lease(context, kernel.blocks() * static_cast<int64_t>(sizeof(double)));
  kernel.sums = lease.as<double>();
  cuda::launch(kernel);
  cuda::copy(kernel.sums, sums.data(), kernel.blocks());
  *task.sum = std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <class Real>
void on_cuda(const FindNonFinite<Real>& task, Context& context) {
  cuda::FindNonFiniteKernel<Real> kernel{task.values.data(), static_cast<int64_t>(task.values.size()), nullptr};
  std::vector<int64_t> first(static_cast<size_t>(kernel.blocks()));
  const Context::Lease lease(context, kernel.blocks() * static_cast<int64_t>(sizeof(int64_t)));
  kernel.first = lease.as<int64_t>();
  cuda::launch(kernel);
  cuda::copy(kernel.first, first.data(), kernel.blocks());
  const int64_t lowest = first.empty() ? kernel.count : *std::min_element(first.begin(), first.end());
  *task.first = lowest == kernel.count ? -1 : lowest;
}

template void on_cuda(const Fill<float>&, Context&);
template void on_cuda(const Copy<float>&, Context&);
template void on_cuda(const Copy<bf16>&, Context&);
template void on_cuda(const Copy<int32_t>&, Context&);
template void on_cuda(const Copy<uint8_t>&, Context&);
template void on_cuda(const Sum<float>&, Context&);
template void on_cuda(const Add<float>&, Context&);
template void on_cuda(const RotaryTable<float>&, Context&);
template void on_cuda(const SinusoidalPositions<float>&, Context&);
template void on_cuda(const AdamUpdate<float>&, Context&);
template void on_cuda(const AdamUpdateBf16<float>&, Context&);
template void on_cuda(const FindNonFinite<bf16>&, Context&);
template void on_cuda(const Fill<bf16>&, Context&);
template void on_cuda(const SumOfSquares<float>&, Context&);
template void on_cuda(const FindNonFinite<float>&, Context&);
#define TROUPE_INSTANTIATE(P)                                   \
  template void on_cuda(const DropoutBackward<P>&, Context&);   \
  template void on_cuda(const DropRows<P>&, Context&);          \
  template void on_cuda(const RmsNormForward<P>&, Context&);    \
  template void on_cuda(const RmsNormBackward<P>&, Context&);   \
  template void on_cuda(const HeadNormForward<P>&, Context&);   \
  template void on_cuda(const HeadNormBackward<P>&, Context&);  \
  template void on_cuda(const GateForward<P>&, Context&);       \
  template void on_cuda(const GateBackward<P>&, Context&);      \
  template void on_cuda(const Rotary<P>&, Context&);            \
  template void on_cuda(const LayerNormForward<P>&, Context&);  \
  template void on_cuda(const LayerNormBackward<P>&, Context&); \
  template void on_cuda(const EmbeddingForward<P>&, Context&);  \
  template void on_cuda(const EmbeddingBackward<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
