#include "ops/adam.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "base/threads.h"
#include "kernels/ref/adam.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

// Long streams, in elements: threads that take turns in short ones disturb prefetching.
constexpr int64_t kUpdateChunk = 1 << 17, kLongestScan = 1 << 20;
constexpr int64_t kSumChunk = 1 << 14;  // the cut of the sum

// Of `size` elements so many at a time that every thread has four turns: whole sums.
int64_t scan_chunk(int64_t size) {
  const int64_t sums = size / (4 * num_threads()) / kSumChunk + 1;
  return std::min(sums * kSumChunk, kLongestScan);
}

void vectorized(Isa level, const AdamUpdate<float>& task, Context&) {
  const AdamCoefficients c = adam_coefficients(task.step, task.grad_scale);
  parallel_chunks(static_cast<int64_t>(task.p.size()), kUpdateChunk, [&](int64_t begin, int64_t end) {
    kernels(level).adam.update(c, task.g.data() + begin, end - begin, task.p.data() + begin, task.m.data() + begin,
                               task.v.data() + begin);
  });
}

void vectorized(Isa level, const AdamUpdateBf16<float>& task, Context&) {
  const AdamCoefficients c = adam_coefficients(task.step, task.grad_scale);
  parallel_chunks(static_cast<int64_t>(task.p.size()), kUpdateChunk, [&](int64_t begin, int64_t end) {
    kernels(level).adam.update_bf16(c, task.g.data() + begin, end - begin, task.p.data() + begin, task.m.data() + begin,
                                    task.v.data() + begin, task.key, static_cast<uint64_t>(task.first + begin));
  });
}

void vectorized(Isa level, const SumOfSquares<float>& task, Context& context) {
  const int64_t size = static_cast<int64_t>(task.values.size()), num_sums = (size + kSumChunk - 1) / kSumChunk;
  const Context::Lease lease(context, num_sums * static_cast<int64_t>(sizeof(double)));
  double* const sums = lease.as<double>();
  parallel_chunks(size, scan_chunk(size), [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kSumChunk)
      sums[first / kSumChunk] =
          kernels(level).adam.sum_of_squares(task.values.data() + first, std::min(kSumChunk, end - first));
  });
  *task.sum = std::accumulate(sums, sums + num_sums, 0.0);
}

void vectorized(Isa level, const FindNonFinite<float>& task, Context&) {
  const int64_t size = static_cast<int64_t>(task.values.size());
  std::atomic<int64_t> first = size;
  parallel_chunks(size, scan_chunk(size), [&](int64_t begin, int64_t end) {
    if (begin >= first.load(std::memory_order_relaxed)) return;
    if (kernels(level).adam.all_finite(task.values.data() + begin, end - begin)) return;
    for (int64_t i = begin; i < end; ++i) {
      if (std::isfinite(task.values[static_cast<size_t>(i)])) continue;
      int64_t known = first.load();
      while (i < known && !first.compare_exchange_weak(known, i)) {
      }
      return;
    }
  });
  *task.first = first == size ? -1 : first.load();
}

// In bf16 there is the reference alone: it looks at moments before they are saved.
template <class Real>
using FloatLevels = std::conditional_t<std::is_same_v<Real, bf16>, Levels<>, VectorLevels<Real>>;

constexpr auto kAdamAt = [](Isa level, const auto& task, Context& context) { vectorized(level, task, context); };

}  // namespace

// Usual form: lr / (1 - beta1^t) m / (sqrt(v) / c + eps) with c = sqrt(1 - beta2^t) is c lr / (1 - beta1^t) m /
// (sqrt(v) + c eps): the same expression as fairseq's with another epsilon.
AdamCoefficients adam_coefficients(const AdamStep& step, double grad_scale) {
  const double correction1 = 1.0 - std::pow(step.beta1, static_cast<double>(step.t));
  const double correction2 = std::sqrt(1.0 - std::pow(step.beta2, static_cast<double>(step.t)));
  const double epsilon = step.form == AdamStep::Form::kFairseq ? step.eps : correction2 * step.eps;
  return {
      .beta1 = static_cast<float>(step.beta1),
      .rest1 = static_cast<float>((1.0 - step.beta1) * grad_scale),
      .beta2 = static_cast<float>(step.beta2),
      .rest2 = static_cast<float>((1.0 - step.beta2) * grad_scale * grad_scale),
      .decay = static_cast<float>(1.0 - step.weight_decay * step.lr),
      .rate = static_cast<float>(step.lr * correction2 / correction1),
      .epsilon = static_cast<float>(epsilon),
  };
}

template <class Real>
Implementations<AdamUpdate<Real>> AdamUpdate<Real>::implementations() {
  static const auto rows = with_cuda(
      rows_at<AdamUpdate>(VectorLevels<Real>(), kAdamAt, [](const auto& task) { ref::adam_update(task); }));
  return rows;
}

template <class Real>
Implementations<AdamUpdateBf16<Real>> AdamUpdateBf16<Real>::implementations() {
  static const auto rows = with_cuda(
      rows_at<AdamUpdateBf16>(VectorLevels<Real>(), kAdamAt, [](const auto& task) { ref::adam_update_bf16(task); }));
  return rows;
}

template <class Real>
Implementations<SumOfSquares<Real>> SumOfSquares<Real>::implementations() {
  static const auto rows = with_cuda(
      rows_at<SumOfSquares>(VectorLevels<Real>(), kAdamAt, [](const auto& task) { ref::sum_of_squares(task); }));
  return rows;
}

template <class Real>
Implementations<FindNonFinite<Real>> FindNonFinite<Real>::implementations() {
  static const auto rows = with_cuda(
      rows_at<FindNonFinite>(FloatLevels<Real>(), kAdamAt, [](const auto& task) { ref::find_non_finite(task); }));
  return rows;
}

template struct AdamUpdate<double>;
template struct AdamUpdate<float>;
template struct AdamUpdateBf16<float>;
template struct SumOfSquares<double>;
template struct SumOfSquares<float>;
template struct FindNonFinite<double>;
template struct FindNonFinite<float>;
template struct FindNonFinite<bf16>;

}  // namespace troupe
