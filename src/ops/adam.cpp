#include "ops/adam.h"

#include <array>
#include <atomic>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "base/threads.h"
#include "kernels/ref/adam.h"
#include "kernels/table.h"
#include "ops/implementations.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

constexpr int64_t kChunk = 1 << 14;        // elements; the cut of the sum
constexpr int64_t kUpdateChunk = 1 << 17;  // long streams: threads that take turns in short ones disturb prefetching

// Usual form: lr / (1 - beta1^t) m / (sqrt(v) / c + eps) with c = sqrt(1 - beta2^t) is c lr / (1 - beta1^t) m /
// (sqrt(v) + c eps): the same expression as fairseq's with another epsilon.
AdamCoefficients coefficients(const AdamStep& step, double grad_scale) {
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

template <Isa level>
void update(std::span<float> p, std::span<const float> g, std::span<float> m, std::span<float> v, const AdamStep& step,
            double grad_scale) {
  const AdamCoefficients c = coefficients(step, grad_scale);
  parallel_chunks(static_cast<int64_t>(p.size()), kUpdateChunk, [&](int64_t begin, int64_t end) {
    kernels(level).adam.update(c, g.data() + begin, end - begin, p.data() + begin, m.data() + begin, v.data() + begin);
  });
}

template <Isa level>
double chunked_sum_of_squares(std::span<const float> values) {
  const int64_t size = static_cast<int64_t>(values.size());
  static thread_local Buffer<double> buffer;  // kept, so that steps do not allocate
  buffer.reserve((size + kChunk - 1) / kChunk);
  double* const sums = buffer.data();
  parallel_chunks(size, kChunk, [&](int64_t begin, int64_t end) {
    sums[begin / kChunk] = kernels(level).adam.sum_of_squares(values.data() + begin, end - begin);
  });
  return std::accumulate(sums, sums + (size + kChunk - 1) / kChunk, 0.0);
}

template <Isa level>
constexpr AdamKernels<float> vectorized(std::string_view name) {
  return {name, refuses_below<level>, update<level>, chunked_sum_of_squares<level>};
}

template <class real>
constexpr AdamKernels<real> kReference = {"ref", never_refuses, ref::adam_update<real>, ref::sum_of_squares<real>};

template <class real>
constexpr std::array kAdam = {kReference<real>};
template <>
constexpr std::array kAdam<float> = {vectorized<Isa::kAvx512>("avx512"), vectorized<Isa::kAvx2>("avx2"),
                                     vectorized<Isa::kGeneric>("generic"), kReference<float>};

template <class real>
const AdamKernels<real>& chosen() {
  static const AdamKernels<real>& kernels = choose("adam", adam_list<real>());
  return kernels;
}

}  // namespace

template <class real>
std::span<const AdamKernels<real>> adam_list() {
  return kAdam<real>;
}

template <class real>
void adam_update(std::span<real> p, std::span<const real> g, std::span<real> m, std::span<real> v, const AdamStep& step,
                 double grad_scale) {
  chosen<real>().update(p, g, m, v, step, grad_scale);
}

template <class real>
double sum_of_squares(std::span<const real> values) {
  return chosen<real>().sum_of_squares(values);
}

template <class real>
int64_t find_non_finite(std::span<const real> values) {
  const int64_t size = static_cast<int64_t>(values.size());
  std::atomic<int64_t> first = size;
  parallel_chunks(size, kChunk, [&](int64_t begin, int64_t end) {
    if (begin >= first.load(std::memory_order_relaxed)) return;
    if constexpr (std::is_same_v<real, float>)
      if (kernels().adam.all_finite(values.data() + begin, end - begin)) return;
    for (int64_t i = begin; i < end; ++i) {
      if (std::isfinite(values[static_cast<size_t>(i)])) continue;
      int64_t known = first.load();
      while (i < known && !first.compare_exchange_weak(known, i)) {
      }
      return;
    }
  });
  return first == size ? -1 : first.load();
}

#define TROUPE_INSTANTIATE(real)                                                                            \
  template std::span<const AdamKernels<real>> adam_list<real>();                                            \
  template void adam_update<real>(std::span<real>, std::span<const real>, std::span<real>, std::span<real>, \
                                  const AdamStep&, double);                                                 \
  template double sum_of_squares<real>(std::span<const real>);                                              \
  template int64_t find_non_finite<real>(std::span<const real>);
TROUPE_INSTANTIATE(double)
TROUPE_INSTANTIATE(float)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
