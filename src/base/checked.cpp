#include "base/checked.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace troupe {

int64_t checked_product(std::initializer_list<int64_t> factors, std::string_view where) {
  int64_t product = 1;
  for (const int64_t factor : factors)
    if (__builtin_mul_overflow(product, factor, &product))
      fail(ErrorCode::kUsage, "{}: expected a product below 2^63, got {}", where, fmt::join(factors, " x "));
  return product;
}

}  // namespace troupe
