#include "ops/gate.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

class GateGradient : public testing::TestWithParam<Activation> {};

TEST_P(GateGradient, MatchesCentralDifferences) {
  constexpr int64_t R = 4, F = 7;
  auto z = test::normal_values(R * 2 * F, 1, 2.0);
  const auto dhidden = test::normal_values(R * F, 2);
  std::vector<double> hidden(R * F), dz(R * 2 * F);
  const auto loss = [&] {
    run(GateForward<F64>{GetParam(), {z.data(), R, 2 * F}, {hidden.data(), R, F}});
    return test::dot(dhidden, hidden);
  };
  run(GateBackward<F64>{GetParam(), {z.data(), R, 2 * F}, {dhidden.data(), R, F}, {dz.data(), R, 2 * F}});
  test::expect_gradient(loss, z, dz, {.step = 1e-5, .rtol = 2e-6});
}

INSTANTIATE_TEST_SUITE_P(Activations, GateGradient,
                         testing::Values(Activation::kNone, Activation::kGeluErf, Activation::kGeluTanh,
                                         Activation::kRelu, Activation::kSilu, Activation::kRelu2));

TEST(Gate, IsTheActivationOfTheFirstHalfTimesTheSecond) {
  std::vector<double> z = {1.0, -2.0, 3.0, 5.0}, hidden(2);
  run(GateForward<F64>{Activation::kRelu2, {z.data(), 1, 4}, {hidden.data(), 1, 2}});
  EXPECT_EQ(hidden[0], 3.0);
  EXPECT_EQ(hidden[1], 0.0);
  run(GateForward<F64>{Activation::kSilu, {z.data(), 1, 4}, {hidden.data(), 1, 2}});
  EXPECT_DOUBLE_EQ(hidden[0], 3.0 / (1.0 + std::exp(-1.0)));
  EXPECT_DOUBLE_EQ(hidden[1], -10.0 / (1.0 + std::exp(2.0)));
}

}  // namespace
}  // namespace troupe
