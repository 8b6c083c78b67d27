// Products of sizes that come from outside: a number of 64 bits, or an error that names the factors.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace troupe {

// Of numbers >= 0. Throws kUsage: "WHERE: expected a product below 2^63, got 16777216 x 4294967296 x 4096".
int64_t checked_product(std::initializer_list<int64_t> factors, std::string_view where);

}  // namespace troupe
