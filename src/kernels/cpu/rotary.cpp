#include "kernels/cpu/rotary.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const RotaryKernels rotary_kernels;

namespace {

template <class T>
void turn(const RotaryTask<T>& t) {
  const int64_t half = t.table.cols / 2;
  const float sign = t.backward ? -1.0f : 1.0f;
  for (int64_t row = 0; row < t.x.rows; ++row) {
    const float* cos = t.table.data + t.positions[row] * t.table.stride;
    const float* sin = cos + half;
    for (int64_t head = 0; head < t.x.cols; head += t.C) {
      T* first = t.x.data + row * t.x.stride + head;
      T* second = first + half;
      for_vectors(half, [&](int64_t j, int64_t n) {
        const Vec a = load_n(first + j, n), b = load_n(second + j, n);
        const Vec c = load_n(cos + j, n), s = load_n(sin + j, n) * sign;
        store_n(first + j, a * c - b * s, n);
        store_n(second + j, b * c + a * s, n);
      });
    }
  }
}

}  // namespace

const RotaryKernels rotary_kernels = {turn<float>, turn<bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
