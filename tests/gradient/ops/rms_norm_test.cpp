#include "ops/rms_norm.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

constexpr double kEpsilon = 1e-3;  // large enough that its place matters

class RmsNormGradient : public testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(RmsNormGradient, MatchesCentralDifferences) {
  const auto [T, D] = GetParam();
  auto x = test::normal_values(T * D, 1), gamma = test::normal_values(D, 2);
  const auto dy = test::normal_values(T * D, 3);
  std::vector<double> y(T * D), rstd(T), dx(T * D, 0.0), dgamma(D, 0.0);
  const auto loss = [&, T = T, D = D] {
    run(RmsNormForward<F64>{{x.data(), T, D}, gamma, kEpsilon, {y.data(), T, D}, {}, rstd});
    return test::dot(dy, y);
  };
  loss();
  run(RmsNormBackward<F64>{{x.data(), T, D}, gamma, rstd, {dy.data(), T, D}, {dx.data(), T, D}, dgamma});
  test::expect_gradient(loss, x, dx, {.step = 1e-5, .rtol = 2e-6});
  test::expect_gradient(loss, gamma, dgamma);
}

// Heads of width D, three beside each other.
TEST_P(RmsNormGradient, OfHeadsMatchesCentralDifferences) {
  const auto [T, C] = GetParam();
  const int64_t N = 3;
  auto x = test::normal_values(T * N * C, 1), gamma = test::normal_values(C, 2);
  const auto dy = test::normal_values(T * N * C, 3);
  std::vector<double> y(T * N * C), rstd(T * N), dx = dy, dgamma(C, 0.0);
  const auto loss = [&, T = T, C = C] {
    run(HeadNormForward<F64>{{x.data(), T, N * C}, gamma, kEpsilon, {y.data(), T, N * C}, rstd});
    return test::dot(dy, y);
  };
  loss();
  run(HeadNormBackward<F64>{{x.data(), T, N * C}, gamma, rstd, {dx.data(), T, N * C}, dgamma});
  test::expect_gradient(loss, x, dx, {.step = 1e-5, .rtol = 2e-6});
  test::expect_gradient(loss, gamma, dgamma);
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNormGradient,
                         testing::Values(std::pair{1, 2}, std::pair{3, 5}, std::pair{2, 64}, std::pair{7, 33}));

TEST(RmsNorm, DividesByTheRootOfTheMeanSquare) {
  std::vector<double> x = {3.0, 4.0}, gamma = {1.0, 2.0}, y(2), rstd(1);
  run(RmsNormForward<F64>{{x.data(), 1, 2}, gamma, 0.0, {y.data(), 1, 2}, {}, rstd});
  EXPECT_DOUBLE_EQ(y[0], 3.0 / std::sqrt(12.5));
  EXPECT_DOUBLE_EQ(y[1], 8.0 / std::sqrt(12.5));
}

}  // namespace
}  // namespace troupe
