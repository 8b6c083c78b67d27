// Inputs of benchmarks.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "tensor/buffer.h"

namespace troupe::cli {

// Uniform on (-scale, scale), the same for the same seed.
template <class T>
Buffer<T> random_buffer(int64_t size, uint64_t seed, double scale) {
  Buffer<T> buffer(size);
  Rng rng(seed);
  for (T& value : buffer) value = T(static_cast<float>(scale * (2.0 / 4294967296.0 * rng.next_u32() - 1.0)));
  return buffer;
}

}  // namespace troupe::cli
