// Comparing an implementation with the reference in double, element by element.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "guarded.h"
#include "tensor/bf16.h"

namespace troupe::test {

template <class T>
std::vector<double> widened(const Guarded<T>& m) {
  std::vector<double> values;
  for (int64_t i = 0; i < m.rows(); ++i)
    for (int64_t j = 0; j < m.cols(); ++j) values.push_back(static_cast<double>(static_cast<float>(m(i, j))));
  return values;
}

// Expects |got - want| <= tolerance * (root mean square of want + |want|) everywhere, or both infinite or NaN alike.
// Names the worst element.
template <class T>
void expect_close(const Guarded<T>& got, const std::vector<double>& want, double tolerance, const std::string& what) {
  ASSERT_EQ(static_cast<int64_t>(want.size()), got.rows() * got.cols()) << what;
  double squares = 0.0;
  for (const double value : want)
    if (std::isfinite(value)) squares += value * value;
  const double rms = std::sqrt(squares / std::max<double>(1.0, static_cast<double>(want.size())));
  double worst = 0.0;
  std::string where;
  for (int64_t i = 0; i < got.rows(); ++i)
    for (int64_t j = 0; j < got.cols(); ++j) {
      const double expected = want[static_cast<size_t>(i * got.cols() + j)], actual = static_cast<float>(got(i, j));
      if (actual == expected || (std::isnan(actual) && std::isnan(expected))) continue;
      double error = std::abs(actual - expected) / (tolerance * (rms + std::abs(expected)) + 1e-30);
      if (std::isnan(error)) error = HUGE_VAL;
      if (error <= worst) continue;
      worst = error;
      where = fmt::format("[{}, {}]: expected {}, got {}", i, j, expected, actual);
    }
  EXPECT_LE(worst, 1.0) << what << " " << where << " (tolerance " << tolerance << ")";
}

template <class T>
bool equal_bits(const Guarded<T>& a, const Guarded<T>& b) {
  for (int64_t i = 0; i < a.rows(); ++i)
    if (a.cols() > 0 && std::memcmp(&a(i, 0), &b(i, 0), static_cast<size_t>(a.cols()) * sizeof(T)) != 0) return false;
  return true;
}

// Runs body() under each number of threads and restores the old one.
template <class Body>
void with_threads(std::initializer_list<int> counts, const Body& body) {
  const int before = omp_get_max_threads();
  for (const int count : counts) {
    omp_set_num_threads(count);
    body(count);
  }
  omp_set_num_threads(before);
}

}  // namespace troupe::test
