// The output loss on the device: a block of logits at a time by the products of the lists, then a kernel, then two
// products.
#include "ops/loss.h"

#include <algorithm>
#include <vector>

#include "ops/cuda/row.h"

namespace troupe {
namespace {

// Tokens whose logits exist at a time: at most 1 GiB of them.
int64_t tokens_of_logits(int64_t T, int64_t V) {
  constexpr int64_t kLargestLogits = int64_t{1} << 28;
  return std::clamp<int64_t>(kLargestLogits / V, 1, std::max<int64_t>(T, 1));
}

void cap_logits(double cap, Matrix<float> logits) {
  if (cap > 0.0) cuda::launch(cuda::SoftCapKernel{cuda::view(logits), static_cast<float>(cap)});
}

}  // namespace

template <class Real>
void on_cuda(const SoftCap<Real>& task, Context&) {
  cap_logits(task.cap, task.logits);
}

template <class P>
void on_cuda(const OutputLoss<P>& task, Context& context) {
  const int64_t T = task.h_TD.rows, V = task.embed.out(), block = tokens_of_logits(T, V);
  const Context::Lease lease(context, block * V * static_cast<int64_t>(sizeof(float)));
  for (int64_t begin = 0; begin < T; begin += block) {
    const Matrix<float> logits(lease.as<float>(), std::min(block, T - begin), V);
    ForwardEpilogue<P> forward;
    forward.out_real = logits;
    forward.dropout.multiplier = 1.0f / static_cast<float>(task.divisor);
    run_on(Device::kCuda, LinearForward<P>{task.embed, task.h_TD.rows_from(begin, logits.rows), {}, forward}, context);
    cap_logits(task.cap, logits);
    cuda::launch(cuda::ScoreKernel{cuda::view(Matrix<const float>(logits)), task.targets_T.data() + begin,
                                   task.nll_T.data() + begin,
                                   task.argmax_T.empty() ? nullptr : task.argmax_T.data() + begin});
  }
}

template <class P>
void on_cuda(const OutputLossWithGradient<P>& task, Context& context) {
  using operand = typename P::operand;
  const int64_t T = task.h_TD.rows, V = task.embed.out(), block = tokens_of_logits(T, V);
  const Context::Lease lease(context, block * V * static_cast<int64_t>(sizeof(float)));
  const Context::Lease lse(context, T * static_cast<int64_t>(sizeof(float)));
  for (int64_t begin = 0; begin < T; begin += block) {
    const Matrix<float> logits(lease.as<float>(), std::min(block, T - begin), V);
    const Matrix<const operand> h = task.h_TD.rows_from(begin, logits.rows);
    ForwardEpilogue<P> forward;
    forward.out_real = logits;
    forward.dropout.multiplier = 1.0f / static_cast<float>(task.divisor);
    run_on(Device::kCuda, LinearForward<P>{task.embed, h, {}, forward}, context);
    cap_logits(task.cap, logits);
    cuda::launch(cuda::ScoreWithGradientKernel<operand>{
        .logits = cuda::view(logits),
        .targets = task.targets_T.data() + begin,
        .nll = task.nll_T.data() + begin,
        .lse = lse.as<float>() + begin,
        .divisor = static_cast<float>(task.divisor),
        .inverse_cap = task.cap > 0.0 ? 1.0f / static_cast<float>(task.cap) : 0.0f,
        .z_loss = static_cast<float>(task.z_loss)});
    constexpr auto kPerReal = static_cast<int64_t>(sizeof(float) / sizeof(operand));
    const Matrix<const operand> dlogits(lease.as<operand>(), logits.rows, V, V * kPerReal);
    BackwardEpilogue<P> backward;
    backward.out_real = task.dh_TD.rows_from(begin, logits.rows);
    run_on(Device::kCuda, LinearBackwardInput<P>{task.embed, dlogits, {}, backward}, context);
    if (task.dembed_VD)
      run_on(Device::kCuda, LinearBackwardWeight<P>{task.embed, dlogits, h, {}, task.dembed_VD}, context);
  }
  if (!task.squared_lse) return;
  std::vector<float> values(static_cast<size_t>(T));
  cuda::copy<float>(lse.as<float>(), values.data(), T);
  *task.squared_lse = 0.0;
  for (const float value : values) *task.squared_lse += static_cast<double>(value) * static_cast<double>(value);
}

template void on_cuda(const SoftCap<float>&, Context&);
#define TROUPE_INSTANTIATE(P)                            \
  template void on_cuda(const OutputLoss<P>&, Context&); \
  template void on_cuda(const OutputLossWithGradient<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
