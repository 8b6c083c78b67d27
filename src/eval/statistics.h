// Means with their uncertainty.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>

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

// Mean of estimates that are independent, such as figures of different tasks. NaN for none.
Estimate mean_of_independent(std::span<const Estimate> estimates);

// Two sums over the same units (negative log-likelihoods and tokens of documents) as a ratio estimator (Cochran 1977,
// section 6.4): R = sum x / sum n, standard error sqrt(N / (N - 1) * sum (x_i - R n_i)^2) / sum n, NaN for one unit.
Estimate ratio_of(std::span<const double> x, std::span<const int64_t> n);

// Half of the 95 % interval of an estimate over `units` (documents), by t; NaN with fewer than two.
double half_interval95(double standard_error, int64_t units);

// The 95 % interval of a share of n units by Wilson (1927), which stays between 0 and 1, of none or all of them, too.
std::pair<double, double> interval95_of_share(double share, int64_t n);

// The t for which a Student variable with `degrees` of freedom lies in [-t, t] with probability `coverage` (0.95).
double student_t(double coverage, int64_t degrees);

}  // namespace troupe
