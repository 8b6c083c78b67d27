#include "kernels/cpu/adam.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const AdamKernelTable adam_kernels;

namespace {

TROUPE_INLINE Vec square_root(Vec v) {
#if TROUPE_ISA_LEVEL >= 2
  return std::bit_cast<Vec>(_mm512_sqrt_ps(std::bit_cast<__m512>(v)));
#elif TROUPE_ISA_LEVEL == 1
  return std::bit_cast<Vec>(_mm256_sqrt_ps(std::bit_cast<__m256>(v)));
#else
  for (int i = 0; i < kWidth; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// Memory bounds it, so nothing may stand between the loads: the loop is inlined and its constants are in registers.
void update(const AdamCoefficients& coefficients, const float* g, int64_t count, float* p, float* m, float* v) {
  const AdamCoefficients c = coefficients;
  for_vectors(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec g_i = load_n(g + i, n);
        const Vec m_i = load_n(m + i, n) * c.beta1 + g_i * c.rest1;
        const Vec v_i = load_n(v + i, n) * c.beta2 + (g_i * g_i) * c.rest2;
        const Vec p_i = load_n(p + i, n) * c.decay - (m_i * c.rate) / (square_root(v_i) + c.epsilon);
        store_n(m + i, m_i, n);
        store_n(v + i, v_i, n);
        store_n(p + i, p_i, n);
      });
}

// Elements ahead, in a stream that the hardware foresees too late.
constexpr int64_t kAhead = 512;

double sum_of_squares(const float* values, int64_t count) {
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    __builtin_prefetch(values + i + kAhead, 0, 2);
    for (int lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) lanes[0] += static_cast<double>(values[i]) * values[i];
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// The exponent bits of infinities and NaN are all ones.
bool all_finite(const float* values, int64_t count) {
  VecInt any = VecInt{};
  for_vectors(count, [&](int64_t i, int64_t n) {
    __builtin_prefetch(values + i + kAhead, 0, 2);
    any |= (bits_of(load_n(values + i, n)) & 0x7F800000u) == VecUint{} + 0x7F800000u;
  });
  int32_t found = 0;
  for (int lane = 0; lane < kWidth; ++lane) found |= any[lane];
  return found == 0;
}

}  // namespace

const AdamKernelTable adam_kernels = {update, sum_of_squares, all_finite};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
