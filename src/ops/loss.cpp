#include "ops/loss.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "base/threads.h"
#include "kernels/ref/loss.h"
#include "kernels/table.h"
#include "ops/implementations.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

template <class P>
Matrix<const typename P::real> table_of(const LinearBank<P>& embed) {
  return {embed.weight(0), embed.out(), embed.in()};
}

template <class P>
void reference_loss(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                    std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                    std::span<int32_t> argmax_T) {
  ref::output_loss<P>(table_of(embed), h_TD, targets_T, nll_T, argmax_T);
}

template <class P>
void reference_loss_with_gradient(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                                  std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                                  Matrix<typename P::real> dh_TD, typename P::real* dembed_VD) {
  ref::output_loss_with_gradient<P>(table_of(embed), h_TD, targets_T, nll_T, dh_TD, dembed_VD);
}

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

// A buffer that is kept, so that steps do not allocate.
template <class real>
Matrix<real> logits_buffer(int64_t rows, int64_t V) {
  static thread_local Buffer<real> buffer;
  buffer.reserve(rows * V);
  return {buffer.data(), rows, V};
}

float score(const RowKernels& rows, const float* logits, int64_t V, int32_t target, float& lse) {
  lse = rows.log_sum_exp(logits, V);
  return target < 0 ? 0.0f : lse - logits[target];
}

template <class P>
void blocked_loss(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                  std::span<const int32_t> targets_T, std::span<float> nll_T, std::span<int32_t> argmax_T) {
  const RowKernels& rows = kernels().rows;
  const int64_t T = h_TD.rows, V = embed.out(), block = tokens_per_block(T, V, false);
  const Matrix<float> logits_BV = logits_buffer<float>(std::min(T, block), V);
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    ForwardEpilogue<P> forward;
    forward.out_real = logits_BV.rows_from(0, count);
    linear_forward(embed, h_TD.rows_from(begin, count), {}, forward);
    parallel_for(count, [&](int64_t i) {
      const size_t t = static_cast<size_t>(begin + i);
      float lse;
      nll_T[t] = score(rows, logits_BV.row(i), V, targets_T[t], lse);
      if (!argmax_T.empty()) argmax_T[t] = static_cast<int32_t>(rows.argmax(logits_BV.row(i), V));
    });
  }
}

template <class P>
void blocked_loss_with_gradient(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                                std::span<const int32_t> targets_T, std::span<float> nll_T, Matrix<float> dh_TD,
                                float* dembed_VD) {
  using operand = typename P::operand;
  const RowKernels& rows = kernels().rows;
  const int64_t T = h_TD.rows, V = embed.out(), block = tokens_per_block(T, V, true);
  const Matrix<float> logits_BV = logits_buffer<float>(std::min(T, block), V);
  // The gradient takes the place of the logits: a row of it fills the front of the row it is computed from.
  constexpr int64_t kPerReal = sizeof(float) / sizeof(operand);
  const Matrix<operand> dlogits_BV(reinterpret_cast<operand*>(logits_BV.data), logits_BV.rows, V, V * kPerReal);
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t count = std::min(block, T - begin);
    ForwardEpilogue<P> forward;
    forward.out_real = logits_BV.rows_from(0, count);
    linear_forward(embed, h_TD.rows_from(begin, count), {}, forward);
    parallel_for(count, [&](int64_t i) {
      const size_t t = static_cast<size_t>(begin + i);
      const int32_t target = targets_T[t];
      float lse;
      nll_T[t] = score(rows, logits_BV.row(i), V, target, lse);
      operand* dlogits = dlogits_BV.row(i);
      if (target < 0) return void(std::fill(dlogits, dlogits + V, operand(0.0f)));
      const float minus_one = std::exp(logits_BV(i, target) - lse) - 1.0f;
      if constexpr (std::is_same_v<operand, float>)
        rows.softmax_f32(logits_BV.row(i), lse, V, dlogits);
      else
        rows.softmax_bf16(logits_BV.row(i), lse, V, dlogits);
      dlogits[target] = operand(minus_one);
    });
    const Matrix<const operand> dlogits_BV_used = dlogits_BV.rows_from(0, count);
    BackwardEpilogue<P> backward;
    backward.out_real = dh_TD.rows_from(begin, count);
    linear_backward_input(embed, dlogits_BV_used, {}, backward);
    if (dembed_VD) linear_backward_weight(embed, dlogits_BV_used, h_TD.rows_from(begin, count), {}, dembed_VD, nullptr);
  }
}

template <class P>
constexpr LossKernels<P> kReference = {"ref", never_refuses, reference_loss<P>, reference_loss_with_gradient<P>};

template <class P>
constexpr std::array kLoss = {LossKernels<P>{"blocked", never_refuses, blocked_loss<P>, blocked_loss_with_gradient<P>},
                              kReference<P>};
template <>
constexpr std::array kLoss<F64> = {kReference<F64>};

template <class P>
const LossKernels<P>& chosen() {
  static const LossKernels<P>& kernels = choose("loss", loss_list<P>());
  return kernels;
}

}  // namespace

template <class P>
std::span<const LossKernels<P>> loss_list() {
  return kLoss<P>;
}

template <class P>
void output_loss(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD, std::span<const int32_t> targets_T,
                 std::span<typename P::real> nll_T, std::span<int32_t> argmax_T) {
  chosen<P>().loss(embed, h_TD, targets_T, nll_T, argmax_T);
}

template <class P>
void output_loss_with_gradient(const LinearBank<P>& embed, Matrix<const typename P::operand> h_TD,
                               std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                               Matrix<typename P::real> dh_TD, typename P::real* dembed_VD) {
  chosen<P>().loss_with_gradient(embed, h_TD, targets_T, nll_T, dh_TD, dembed_VD);
}

#define TROUPE_INSTANTIATE(P)                                                                                          \
  template std::span<const LossKernels<P>> loss_list<P>();                                                             \
  template void output_loss<P>(const LinearBank<P>&, Matrix<const P::operand>, std::span<const int32_t>,               \
                               std::span<P::real>, std::span<int32_t>);                                                \
  template void output_loss_with_gradient<P>(const LinearBank<P>&, Matrix<const P::operand>, std::span<const int32_t>, \
                                             std::span<P::real>, Matrix<P::real>, P::real*);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
