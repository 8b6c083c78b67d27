// Gradient checks: an analytic gradient against central differences in double, every coordinate.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace troupe::test {

struct GradientOptions {
  double step = 1e-5;  // x is moved by +- step; the truncation error is about step^2 times the third derivative
  double rtol = 1e-6;  // of |dx_i| + the root mean square of dx
};

// Expects dx[i] = d loss() / d x[i] for every i. `loss` takes nothing and reads x, which is moved in place and
// restored. Reports the worst coordinate. A gradient that is zero everywhere needs zero differences (to 1e-9).
template <class Loss>
void expect_gradient(const Loss& loss, std::span<double> x, std::span<const double> dx, GradientOptions options = {}) {
  ASSERT_EQ(x.size(), dx.size());
  double squares = 0.0;
  for (const double value : dx) squares += value * value;
  const double rms = dx.empty() ? 0.0 : std::sqrt(squares / static_cast<double>(dx.size()));
  double worst = 0.0, worst_difference = 0.0;
  size_t worst_index = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + options.step;
    const double above = loss();
    x[i] = kept - options.step;
    const double below = loss();
    x[i] = kept;
    const double difference = (above - below) / (2.0 * options.step);
    const double error = std::abs(difference - dx[i]) / (options.rtol * (std::abs(dx[i]) + rms) + 1e-9);
    if (!(error <= worst)) worst = error, worst_index = i, worst_difference = difference;
    if (std::isnan(error)) break;
  }
  EXPECT_LE(worst, 1.0) << "coordinate " << worst_index << " of " << x.size() << ": central difference "
                        << worst_difference << ", gradient " << dx[worst_index] << " (error over tolerance " << worst
                        << ")";
}

// Standard normal values, the same for the same seed.
template <class T = double>
std::vector<T> normal_values(int64_t count, uint64_t seed, double scale = 1.0) {
  Rng rng(seed);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(scale * rng.normal());
  return values;
}

// sum_i a_i b_i in double: the usual scalar loss <dy, f(x)>.
template <class A, class B>
double dot(const A& a, const B& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace troupe::test
