#include "io/tensor_stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace troupe {
namespace {

TEST(TensorStats, DescribesTheFiniteValues) {
  const std::vector<float> values = {-1, 3, NAN, 5, INFINITY, 1};
  const TensorStats stats = stats_of(values);
  EXPECT_EQ(stats.mean, 2.0);
  EXPECT_DOUBLE_EQ(stats.std, std::sqrt(5.0));
  EXPECT_EQ(stats.min, -1.0);
  EXPECT_EQ(stats.max, 5.0);
  EXPECT_EQ(stats.non_finite, 2);
}

TEST(TensorStats, OfNothingAreZero) {
  EXPECT_EQ(stats_of({}).std, 0.0);
  const std::vector<float> nan = {NAN};
  EXPECT_EQ(stats_of(nan).max, 0.0);
  EXPECT_EQ(stats_of(nan).non_finite, 1);
}

TEST(TensorStats, KeepTheirDigitsFarFromZero) {
  const std::vector<float> values = {10000, 10002};
  EXPECT_EQ(stats_of(values).std, 1.0);
}

}  // namespace
}  // namespace troupe
