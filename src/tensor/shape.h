// The one legend of shape letters. A tensor's name carries its logical shape: x_TD is [T, D].
//   B sequences          S positions in a sequence      T tokens (B * S, row-major: token = row * S + column)
//   D model width        F feed-forward width           V vocabulary rows
//   H heads              C head width (D / H)           G heads of keys and values; in routing: groups of tokens
//   E experts            K experts per token            R routed rows, sorted by expert
//   N, M, K in matrix products: outputs, rows, inputs
// Dimensions are int64_t; data is row-major and 64-byte aligned at its start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace troupe {

using Shape = std::vector<int64_t>;

int64_t num_elements(const Shape& shape);   // 1 for a scalar; throws kData on overflow or a negative dimension
std::string to_string(const Shape& shape);  // "[8, 1408, 512]"

}  // namespace troupe
