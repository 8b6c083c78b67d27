// The output loss on the device: a block of logits at a time by the products of the lists, then a kernel, then two
// products.
#include "ops/loss.h"

#include <algorithm>

#include "ops/cuda/cublaslt.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

// The products with the output matrix, by the lists or, over more columns than there are ids, by a library.
template <class P>
struct OutputProducts {
  using operand = typename P::operand;

  const LinearBank<P>& embed;
  Matrix<const operand> h_TD;
  double divisor;
  Context& context;
  int64_t V = embed.out(), width = padded_width(embed, h_TD), stride = (width + 7) / 8 * 8;

  // Tokens whose logits exist at a time.
  int64_t block() const { return tokens_of_logits(h_TD.rows, stride); }
  int64_t bytes() const { return block() * stride * static_cast<int64_t>(sizeof(float)); }

  // [count, V] of the tokens from `begin` on.
  Matrix<float> logits(float* data, int64_t begin, int64_t count) const {
    const auto h = h_TD.rows_from(begin, count);
    const auto factor = static_cast<float>(1.0 / divisor);
    const Matrix<float> logits(data, count, V, stride);
    if (width == V) {
      ForwardEpilogue<P> forward;
      forward.out_real = logits;
      forward.dropout.multiplier = factor;
      run_on(Device::kCuda, LinearForward<P>{embed, h, {}, forward}, context);
    } else {
      padded_forward<P>(embed, h, {data, count, width, stride}, factor, context);
    }
    return logits;
  }
  // Their gradient, which takes the front of each of their rows.
  Matrix<const operand> dlogits(float* data, int64_t count, int64_t columns) const {
    constexpr auto kPerReal = static_cast<int64_t>(sizeof(float) / sizeof(operand));
    return {reinterpret_cast<const operand*>(data), count, columns, stride * kPerReal};
  }
  // `dlogits` [count, width], of which the columns from V on are 0.
  void backward_input(Matrix<const operand> dlogits, Matrix<float> dh) const {
    BackwardEpilogue<P> backward;
    backward.out_real = dh;
    if (width == V)
      run_on(Device::kCuda, LinearBackwardInput<P>{embed, dlogits, {}, backward}, context);
    else
      padded_backward_input<P>(embed, dlogits, dh, context);
  }
  void backward_weight(float* data, int64_t begin, int64_t count, float* dembed, float* dbias) const {
    const auto h = h_TD.rows_from(begin, count), dy = dlogits(data, count, V);
    if (width == V)
      run_on(Device::kCuda, LinearBackwardWeight<P>{embed, dy, h, {}, dembed, dbias}, context);
    else
      padded_backward_weight<P>(embed, dy, h, dembed, context);
  }
};

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
  const OutputProducts<P> products{task.embed, task.h_TD, task.divisor, context};
  const int64_t T = task.h_TD.rows, block = products.block();
  const Context::Lease lease(context, products.bytes());
  for (int64_t begin = 0; begin < T; begin += block) {
    const Matrix<float> logits = products.logits(lease.as<float>(), begin, std::min(block, T - begin));
    cap_logits(task.cap, logits);
    cuda::launch(cuda::ScoreKernel{cuda::view(Matrix<const float>(logits)), task.targets_T.data() + begin,
                                   task.nll_T.data() + begin,
                                   task.argmax_T.empty() ? nullptr : task.argmax_T.data() + begin});
  }
}

template <class P>
void on_cuda(const OutputLossWithGradient<P>& task, Context& context) {
  using operand = typename P::operand;
  const OutputProducts<P> products{task.embed, task.h_TD, task.divisor, context};
  const int64_t T = task.h_TD.rows, block = products.block();
  const Context::Lease lease(context, products.bytes());
  const Context::Lease lse(context, T * static_cast<int64_t>(sizeof(float)));
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    const Matrix<float> logits = products.logits(lease.as<float>(), begin, count);
    cap_logits(task.cap, logits);
    cuda::launch(cuda::ScoreWithGradientKernel<operand>{
        .logits = cuda::view(logits),
        .width = products.width,
        .targets = task.targets_T.data() + begin,
        .nll = task.nll_T.data() + begin,
        .lse = lse.as<float>() + begin,
        .divisor = static_cast<float>(task.divisor),
        .inverse_cap = task.cap > 0.0 ? 1.0f / static_cast<float>(task.cap) : 0.0f,
        .z_loss = static_cast<float>(task.z_loss)});
    products.backward_input(products.dlogits(lease.as<float>(), count, products.width),
                            task.dh_TD.rows_from(begin, count));
    if (task.dembed_VD) products.backward_weight(lease.as<float>(), begin, count, task.dembed_VD, task.dbias_V);
  }
  if (!task.squared_lse) return;
  const Later<double> squares = [values = cuda::Fetched<float>(lse.as<float>(), T)] {
    double sum = 0.0;
    for (const float value : values.get()) sum += static_cast<double>(value) * static_cast<double>(value);
    return sum;
  };
  if (task.later)
    *task.later = squares;
  else
    *task.squared_lse = squares();
}

template void on_cuda(const SoftCap<float>&, Context&);
#define TROUPE_INSTANTIATE(P)                            \
  template void on_cuda(const OutputLoss<P>&, Context&); \
  template void on_cuda(const OutputLossWithGradient<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
