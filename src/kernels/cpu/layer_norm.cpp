// A row is read three times forward and twice backward, from the L1 cache after the first. Sums run in kWidth lanes,
// which are folded at the end; variance in two passes.
#include "kernels/cpu/layer_norm.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const LayerNormKernelTable layer_norm_kernels;

namespace {

// v with the lanes from `count` on set to zero.
TROUPE_INLINE Vec first_lanes(Vec v, int64_t count) {
  return count == kWidth ? v : (lane_numbers() < broadcast(static_cast<float>(count)) ? v : Vec{});
}

template <class T>
void forward(const LayerNormForwardTask<T>& t) {
  const int64_t D = t.x.cols;
  const float inverse_D = 1.0f / static_cast<float>(D);
  for (int64_t row = 0; row < t.x.rows; ++row) {
    const float* x = t.x.data + row * t.x.stride;
    T* y = t.y.data + (t.y.data ? row * t.y.stride : 0);
    float* y_real = t.y_real.data + (t.y_real.data ? row * t.y_real.stride : 0);
    Vec sum = Vec{};
    for_vectors(D, [&](int64_t d, int64_t n) { sum += load_n(x + d, n); });
    const Vec mean = broadcast(sum_lanes(sum) * inverse_D);
    Vec squares = Vec{};
    for_vectors(D, [&](int64_t d, int64_t n) {
      const Vec centered = first_lanes(load_n(x + d, n) - mean, n);
      squares += centered * centered;
    });
    const float rstd = 1.0f / __builtin_sqrtf(sum_lanes(squares) * inverse_D + t.epsilon);
    for_vectors(D, [&](int64_t d, int64_t n) {
      // Without a branch around the sum: it is one operation with the product, and has its bits.
      const Vec beta = t.beta ? load_n(t.beta + d, n) : Vec{};
      const Vec value = (load_n(x + d, n) - mean) * rstd * load_n(t.gamma + d, n) + beta;
      if (y) store_n(y + d, value, n);
      if (y_real) store_n(y_real + d, value, n);
    });
    if (t.mean) t.mean[row] = mean[0];
    if (t.rstd) t.rstd[row] = rstd;
  }
}

void backward(const LayerNormBackwardTask& t) {
  const int64_t D = t.x.cols;
  const float inverse_D = 1.0f / static_cast<float>(D);
  for (int64_t d = 0; d < D; ++d) t.dgamma[d] = t.dbeta[d] = 0.0f;
  for (int64_t row = 0; row < t.x.rows; ++row) {
    const float* x = t.x.data + row * t.x.stride;
    const float* dy = t.dy.data + row * t.dy.stride;
    float* dx = t.dx.data + row * t.dx.stride;
    const Vec mean = broadcast(t.mean[row]), rstd = broadcast(t.rstd[row]);
    Vec sum_g = Vec{}, sum_gn = Vec{};
    for_vectors(D, [&](int64_t d, int64_t n) {
      const Vec dy_d = load_n(dy + d, n), normalized = (load_n(x + d, n) - mean) * rstd;
      const Vec g = load_n(t.gamma + d, n) * dy_d;  // lanes beyond n are zero
      sum_g += g;
      sum_gn += g * normalized;
      store_n(t.dbeta + d, load_n(t.dbeta + d, n) + dy_d, n);
      store_n(t.dgamma + d, load_n(t.dgamma + d, n) + dy_d * normalized, n);
    });
    const Vec mean_g = broadcast(sum_lanes(sum_g) * inverse_D), mean_gn = broadcast(sum_lanes(sum_gn) * inverse_D);
    for_vectors(D, [&](int64_t d, int64_t n) {
      const Vec normalized = (load_n(x + d, n) - mean) * rstd;
      const Vec g = load_n(t.gamma + d, n) * load_n(dy + d, n);
      store_n(dx + d, load_n(dx + d, n) + rstd * (g - mean_g - normalized * mean_gn), n);
    });
  }
}

}  // namespace

const LayerNormKernelTable layer_norm_kernels = {forward<float>, forward<bf16>, backward};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
