// Rotary positions (Su et al. 2021), in halves as Hugging Face's rotate_half: of the first R of a head's C columns,
// column j < R / 2 and column R / 2 + j turn together by the angle p w_j of position p:
//   y_j = x_j cos - x_{R/2+j} sin,   y_{R/2+j} = x_{R/2+j} cos + x_j sin
// Both are multiplied by a factor (YaRN), so the way back is the same turn the other way round.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/op.h"
#include "tensor/matrix.h"
#include "troupe/config.h"

namespace troupe {

// Turns heads that stand beside each other, in place.
template <class P>
struct Rotary {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "rotary";

  Matrix<operand> x_TNC;  // [T, N C]
  int64_t C = 0;
  std::span<const int32_t> positions_T;  // rows of the table
  Matrix<const real> table_PR;           // [P, R]: cosines, then sines
  bool backward = false;                 // the gradient of y becomes that of x

  static Implementations<Rotary> implementations();
};

// table[p] = factor * [cos((first + p) w_0) .., sin((first + p) w_0) ..]; an angle is rounded to float32 before, as in
// transformers.
template <class Real>
struct RotaryTable {
  using real = Real;
  static constexpr std::string_view kName = "rotary_table";

  std::span<const float> frequencies;  // w_j, on the host
  double factor = 1.0;
  int64_t first = 0;      // the position of row 0
  Matrix<real> table_PR;  // overwritten

  static Implementations<RotaryTable> implementations();
};

// What yarn multiplies the table by, if the configuration does not say otherwise.
double yarn_factor(double scaling_factor);

// The frequencies of R columns by the configuration's scaling (as transformers' modeling_rope_utils.py computes them),
// and the factor. `length` is that of the longest sequence; only dynamic scaling asks.
struct RotaryFrequencies {
  std::vector<float> w;  // [R / 2]
  double factor = 1.0;
};
RotaryFrequencies rotary_frequencies(const RopeConfig& config, int64_t R, int64_t context, int64_t length);

}  // namespace troupe
