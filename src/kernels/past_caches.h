// Writing past the caches what is more than they hold: lines go to memory whole and are not read before, which halves the
// traffic.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace troupe {

// Bytes of a result from which on. A first-level guess for any processor: private caches hold 1 to 2 MB a core, and what a
// shared one holds other data of the step have pushed out.
inline constexpr int64_t kMoreThanCachesHold = 8 << 20;

// std::fill_n(data, count, value). What other threads read is there for them.
template <class T>
void fill_past_caches(T* data, int64_t count, T value) {
  int64_t i = 0;
#ifdef __SSE2__
  constexpr int64_t kInVector = 16 / static_cast<int64_t>(sizeof(T));
  alignas(16) T values[kInVector];
  std::fill_n(values, kInVector, value);
  const __m128i vector = _mm_load_si128(reinterpret_cast<const __m128i*>(values));
  for (; i < count && reinterpret_cast<uintptr_t>(data + i) % 16 != 0; ++i) data[i] = value;
  for (; i + kInVector <= count; i += kInVector) _mm_stream_si128(reinterpret_cast<__m128i*>(data + i), vector);
  _mm_sfence();
#endif
  std::fill_n(data + i, count - i, value);
}

}  // namespace troupe
