#include "eval/statistics.h"

#include <cmath>
#include <numbers>

namespace troupe {
namespace {

// P(|T| <= t) by the finite sums for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4).
double coverage_of(double t, int64_t degrees) {
  const double theta = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(theta), sine = std::sin(theta), square = cosine * cosine;
  const bool odd = degrees % 2 == 1;
  double term = odd ? cosine : 1.0, sum = 0.0;
  for (int64_t i = odd ? 1 : 0; i <= degrees - 2; i += 2) {
    sum += term;
    term *= square * static_cast<double>(i + 1) / static_cast<double>(i + 2);
  }
  return odd ? 2.0 / std::numbers::pi * (theta + sine * sum) : sine * sum;
}

}  // namespace

Estimate mean_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {kNan, kNan};
  double sum = 0.0, squares = 0.0;
  for (const double value : values) sum += value;
  const double mean = sum / n;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (n - 1.0) / n) : kNan};
}

double student_t(double coverage, int64_t degrees) {
  double low = 0.0, high = 1.0;
  while (coverage_of(high, degrees) < coverage) high *= 2.0;
  for (int i = 0; i < 200 && high - low > 1e-12 * high; ++i) {
    const double middle = 0.5 * (low + high);
    (coverage_of(middle, degrees) < coverage ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace troupe
