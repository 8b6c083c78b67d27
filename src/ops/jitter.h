// Noise on the router's inputs in training (Fedus et al. 2021, Switch Transformers, section 2.4, "input jitter").
#pragma once

#include <cstdint>

#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

// x_td *= 1 - amount + 2 amount u_td, u in [0, 1) by the element's number in the global batch (base/rng.h). The gradient
// by x is multiplied by the same.
template <class Real>
struct Jitter {
  using real = Real;
  static constexpr std::string_view kName = "jitter";

  double amount = 0.0;
  uint64_t key = 0;
  int64_t first_row = 0;  // global position of row 0
  Matrix<real> x_TD;

  static Implementations<Jitter> implementations();
};

}  // namespace troupe
