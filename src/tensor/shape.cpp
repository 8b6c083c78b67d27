#include "tensor/shape.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace troupe {

int64_t num_elements(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count))
      fail(ErrorCode::kData, "shape {}: expected sizes >= 0 whose product fits 63 bits", to_string(shape));
  return count;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace troupe
