#include "eval/statistics.h"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace troupe {

Estimate mean_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {kNan, kNan};
  double sum = 0.0, squares = 0.0;
  for (const double value : values) sum += value;
  const double mean = sum / n;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (n - 1.0) / n) : kNan};
}

Estimate mean_of_independent(std::span<const Estimate> estimates) {
  const auto n = static_cast<double>(estimates.size());
  if (estimates.empty()) return {kNan, kNan};
  double sum = 0.0, squares = 0.0;
  for (const Estimate& estimate : estimates)
    sum += estimate.value, squares += estimate.standard_error * estimate.standard_error;
  return {sum / n, std::sqrt(squares) / n};
}

Estimate ratio_of(std::span<const double> x, std::span<const int64_t> n) {
  double sum = 0.0;
  int64_t units = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i], units += n[i];
  const auto total = static_cast<double>(units), N = static_cast<double>(x.size());
  const double ratio = sum / total;
  double squares = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double residual = x[i] - ratio * static_cast<double>(n[i]);
    squares += residual * residual;
  }
  return {ratio, x.size() < 2 ? kNan : std::sqrt(squares * N / (N - 1.0)) / total};
}

double half_interval95(double standard_error, int64_t units) {
  return units < 2 ? kNan : student_t(0.95, units - 1) * standard_error;
}

std::pair<double, double> interval95_of_share(double share, int64_t n) {
  const auto N = static_cast<double>(n);
  const double z = kNormal95, middle = share + z * z / (2 * N), scale = 1 + z * z / N;
  const double half = z * std::sqrt(share * (1 - share) / N + z * z / (4 * N * N));
  return {(middle - half) / scale, (middle + half) / scale};
}

double student_t(double coverage, int64_t degrees) {
  const boost::math::students_t distribution(static_cast<double>(degrees));
  return boost::math::quantile(boost::math::complement(distribution, 0.5 * (1.0 - coverage)));
}

}  // namespace troupe
