// A row is read twice in either direction, from the L1 cache the second time. Sums run in kWidth lanes, which are folded
// at the end.
#include "kernels/cpu/rms_norm.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const RmsNormKernels rms_norm_kernels;

namespace {

template <class T>
TROUPE_INLINE T* row_of(const Matrix<T>& matrix, int64_t row) {
  return matrix.data ? matrix.data + row * matrix.stride : nullptr;
}

template <class X, class Y>
void forward(const RmsNormForwardTask<X, Y>& t) {
  const int64_t groups = t.x.cols / t.C;
  const float inverse_C = 1.0f / static_cast<float>(t.C);
  for (int64_t row = 0; row < t.x.rows; ++row)
    for (int64_t group = 0; group < groups; ++group) {
      const X* x = row_of(t.x, row) + group * t.C;
      Vec squares = Vec{};
      for_vectors(t.C, [&](int64_t c, int64_t n) {
        const Vec value = load_n(x + c, n);  // lanes beyond n are zero
        squares += value * value;
      });
      const float rstd = 1.0f / __builtin_sqrtf(sum_lanes(squares) * inverse_C + t.epsilon);
      Y* y = row_of(t.y, row);
      float* y_real = row_of(t.y_real, row);
      for_vectors(t.C, [&](int64_t c, int64_t n) {
        const Vec value = load_n(x + c, n) * rstd * load_n(t.gamma + c, n);
        if (y) store_n(y + group * t.C + c, value, n);
        if (y_real) store_n(y_real + group * t.C + c, value, n);
      });
      if (t.rstd) t.rstd[row * groups + group] = rstd;
    }
}

template <bool adds, class X>
void backward(const RmsNormBackwardTask<X>& t) {
  const int64_t groups = t.x.cols / t.C;
  const float inverse_C = 1.0f / static_cast<float>(t.C);
  for (int64_t c = 0; c < t.C; ++c) t.dgamma[c] = 0.0f;
  for (int64_t row = 0; row < t.x.rows; ++row)
    for (int64_t group = 0; group < groups; ++group) {
      const X* x = row_of(t.x, row) + group * t.C;
      const X* dy = row_of(t.dy, row) + group * t.C;
      X* dx = row_of(t.dx, row) + group * t.C;
      const Vec rstd = broadcast(t.rstd[row * groups + group]);
      Vec sum_gn = Vec{};
      for_vectors(t.C, [&](int64_t c, int64_t n) {
        const Vec dy_n = load_n(dy + c, n) * (load_n(x + c, n) * rstd);
        sum_gn += load_n(t.gamma + c, n) * dy_n;
        store_n(t.dgamma + c, load_n(t.dgamma + c, n) + dy_n, n);
      });
      const Vec mean_gn = broadcast(sum_lanes(sum_gn) * inverse_C);
      for_vectors(t.C, [&](int64_t c, int64_t n) {
        const Vec normalized = load_n(x + c, n) * rstd;
        Vec value = rstd * (load_n(t.gamma + c, n) * load_n(dy + c, n) - normalized * mean_gn);
        if constexpr (adds) value += load_n(dx + c, n);
        store_n(dx + c, value, n);
      });
    }
}

}  // namespace

const RmsNormKernels rms_norm_kernels = {forward<float, float>,  forward<float, bf16>,   backward<true, float>,
                                         forward<float, float>,  forward<bf16, bf16>,    backward<false, float>,
                                         backward<false, bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
