// The scalars of one Muon update; shared by the op and its kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace troupe {

struct MuonStep {
  double lr = 0.02;  // the scheduled rate of this update
  double momentum = 0.95;
  double weight_decay = 0.0;  // decoupled: p -= weight_decay * lr * p before the update
  bool nesterov = true;
  int64_t iterations = 5;  // of Newton and Schulz
};

// The quintic x -> a x + b x^3 + c x^5 on singular values: steep at 0, and after five rounds between about 0.7 and 1.2
// (Jordan et al. 2024, github.com/KellerJordan/Muon).
struct NewtonSchulz {
  static constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  static constexpr double kSmallestNorm = 1e-7;
};

// An update of a tall matrix [rows, cols] is longer, as the reference's.
inline double muon_scale(int64_t rows, int64_t cols) {
  return std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(cols)));
}

}  // namespace troupe
