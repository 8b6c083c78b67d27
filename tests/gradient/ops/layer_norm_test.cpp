#include "ops/layer_norm.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

class LayerNormGradient : public testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(LayerNormGradient, MatchesCentralDifferences) {
  const auto [T, D] = GetParam();
  auto x = test::normal_values(T * D, 1, 2.0), gamma = test::normal_values(D, 2), beta = test::normal_values(D, 3);
  const auto dy = test::normal_values(T * D, 4);
  std::vector<double> y(T * D), mean(T), rstd(T), dx(T * D, 0.0), dgamma(D, 0.0), dbeta(D, 0.0);
  const auto loss = [&, T = T, D = D] {
    run(LayerNormForward<F64>{{x.data(), T, D}, gamma, beta, kLayerNormEpsilon, {y.data(), T, D}, {}, mean, rstd});
    return test::dot(dy, y);
  };
  loss();
  run(LayerNormBackward<F64>{{x.data(), T, D}, gamma, mean, rstd, {dy.data(), T, D}, {dx.data(), T, D}, dgamma, dbeta});
  test::expect_gradient(loss, x, dx, {.step = 1e-5, .rtol = 2e-6});
  test::expect_gradient(loss, gamma, dgamma);
  test::expect_gradient(loss, beta, dbeta);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LayerNormGradient,
                         testing::Values(std::pair{1, 2}, std::pair{3, 5}, std::pair{2, 64}, std::pair{7, 33}));

TEST(LayerNormGradient, AddsToWhatIsThere) {
  std::vector<double> x = {1, 2, 4}, gamma = {1, 1, 1}, beta = {0, 0, 0}, y(3), mean(1), rstd(1), dy = {1, 0, 0};
  run(LayerNormForward<F64>{{x.data(), 1, 3}, gamma, beta, kLayerNormEpsilon, {y.data(), 1, 3}, {}, mean, rstd});
  std::vector<double> dx(3, 0.0), dgamma(3, 0.0), dbeta(3, 0.0), dx2(3, 1.0), dgamma2(3, 2.0), dbeta2(3, 3.0);
  run(LayerNormBackward<F64>{{x.data(), 1, 3}, gamma, mean, rstd, {dy.data(), 1, 3}, {dx.data(), 1, 3}, dgamma, dbeta});
  run(LayerNormBackward<F64>{
      {x.data(), 1, 3}, gamma, mean, rstd, {dy.data(), 1, 3}, {dx2.data(), 1, 3}, dgamma2, dbeta2});
  for (size_t d = 0; d < 3; ++d) {
    EXPECT_DOUBLE_EQ(dx2[d], dx[d] + 1.0);
    EXPECT_DOUBLE_EQ(dgamma2[d], dgamma[d] + 2.0);
    EXPECT_DOUBLE_EQ(dbeta2[d], dbeta[d] + 3.0);
  }
}

}  // namespace
}  // namespace troupe
