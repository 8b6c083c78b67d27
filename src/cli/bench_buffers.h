// Inputs and outputs of benchmarks, where the device in use has them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/rng.h"
#include "ops/transfer.h"
#include "tensor/buffer.h"

namespace troupe::cli {

template <class T>
Buffer<T> zero_buffer(int64_t size) {
  return Buffer<T>(size, active_memory());
}

// Uniform on (-scale, scale), the same for the same seed.
template <class T>
Buffer<T> random_buffer(int64_t size, uint64_t seed, double scale) {
  Buffer<T> buffer(size, active_memory());
  from_host(buffer.span(), [&](std::span<T> values) {
    Rng rng(seed);
    for (T& value : values) value = T(static_cast<float>(scale * (2.0 / 4294967296.0 * rng.next_u32() - 1.0)));
  });
  return buffer;
}

// The same, of the first million over and over: many, soon.
template <class T>
Buffer<T> repeated_buffer(int64_t size, uint64_t seed, double scale) {
  constexpr int64_t kOnce = int64_t{1} << 20;
  if (size <= kOnce) return random_buffer<T>(size, seed, scale);
  const Buffer<T> once = random_buffer<T>(kOnce, seed, scale);
  Buffer<T> buffer(size, active_memory());
  for (int64_t i = 0; i < size; i += kOnce) {
    const auto count = static_cast<size_t>(std::min(kOnce, size - i));
    copy<T>(once.span().first(count), buffer.span().subspan(static_cast<size_t>(i), count));
  }
  return buffer;
}

}  // namespace troupe::cli
