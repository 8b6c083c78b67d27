#include "kernels/cpu/peak.h"

#if TROUPE_ISA_LEVEL >= 4
#include "kernels/cpu/tile.h"
#endif
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// Keeps a value in a register: the compiler may not see what it is.
#if TROUPE_ISA_LEVEL >= 2
#define TROUPE_OPAQUE(v) __asm__ volatile("" : "+v"(v))
#elif defined(__x86_64__)
#define TROUPE_OPAQUE(v) __asm__ volatile("" : "+x"(v))
#else
#define TROUPE_OPAQUE(v) __asm__ volatile("" : "+w"(v))
#endif

constexpr int kSums = TROUPE_ISA_LEVEL >= 2 ? 24 : 12;  // enough to hide the latency of one

template <class Accumulate>
TROUPE_INLINE void accumulate_in_registers(int64_t iterations, const Accumulate& accumulate) {
  Vec a = broadcast(1.0f), b = broadcast(1e-8f), sum[kSums] = {};
  TROUPE_OPAQUE(a);
  TROUPE_OPAQUE(b);
  for (int64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 24
    for (int j = 0; j < kSums; ++j) {
      TROUPE_OPAQUE(a);  // else a level without fma multiplies once and for all
      sum[j] = accumulate(a, b, sum[j]);
      TROUPE_OPAQUE(sum[j]);
    }
}

double multiply_f32(int64_t iterations) {
  accumulate_in_registers(iterations, [](Vec a, Vec b, Vec sum) { return a * b + sum; });
  return 2.0 * kSums * kWidth * static_cast<double>(iterations);
}

#if TROUPE_ISA_LEVEL >= 4
double multiply_bf16(int64_t iterations) {
  tile_configure(2 * kTileRows);
  for (int64_t i = 0; i < iterations; ++i) {
    TROUPE_TILE_MULTIPLY(0, 4, 6);
    TROUPE_TILE_MULTIPLY(1, 4, 7);
    TROUPE_TILE_MULTIPLY(2, 5, 6);
    TROUPE_TILE_MULTIPLY(3, 5, 7);
  }
  tile_release();
  return 4.0 * (2.0 * 16 * 16 * 32) * static_cast<double>(iterations);  // four products of 16 x 16 x 32
}
#elif TROUPE_ISA_LEVEL == 3
double multiply_bf16(int64_t iterations) {
  accumulate_in_registers(iterations, [](Vec a, Vec b, Vec sum) {
    return std::bit_cast<Vec>(
        _mm512_dpbf16_ps(std::bit_cast<__m512>(sum), std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(b)));
  });
  return 4.0 * kSums * kWidth * static_cast<double>(iterations);
}
#else
constexpr auto multiply_bf16 = multiply_f32;  // no bf16 products: float32 is the best there is
#endif

void triad(const float* a, const float* b, float* c, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec value = load_n(a + i, count) + 3.0f * load_n(b + i, count);
#if TROUPE_ISA_LEVEL >= 2
    if (count == kWidth) return _mm512_stream_ps(c + i, std::bit_cast<__m512>(value));
#elif TROUPE_ISA_LEVEL == 1
    if (count == kWidth) return _mm256_stream_ps(c + i, std::bit_cast<__m256>(value));
#endif
    store_n(c + i, value, count);
  });
}

float sum(const float* a, int64_t n) {
  Vec total[4] = {};
  int64_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth)
    for (int j = 0; j < 4; ++j) {
      __builtin_prefetch(a + i + j * kWidth + 1024);  // the hardware alone does not reach the peak everywhere
      total[j] += load(a + i + j * kWidth);
    }
  return sum_lanes(total[0] + total[1] + (total[2] + total[3]));
}

}  // namespace

extern const PeakKernels peak_kernels;
const PeakKernels peak_kernels = {multiply_bf16, multiply_f32, triad, sum};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
