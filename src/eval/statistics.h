// Means with their uncertainty.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace troupe {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();  // not known, or not defined
inline constexpr double kNormal95 = 1.959963984540054;  // standard errors in half a 95 % interval if s is exact

struct Estimate {
  double value = 0.0;
  double standard_error = 0.0;  // NaN if there is one value only
};

// Mean and s / sqrt(n), s the sample standard deviation (n - 1). For values 0 and 1 it is the binomial error
// sqrt(p (1 - p) / (n - 1)). NaN for no values.
Estimate mean_of(std::span<const double> values);

// The t for which a Student variable with `degrees` of freedom lies in [-t, t] with probability `coverage` (0.95).
double student_t(double coverage, int64_t degrees);

}  // namespace troupe
