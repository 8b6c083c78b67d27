#include "ops/loss.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

TEST(OutputLossGradient, MatchesCentralDifferences) {
  constexpr int64_t T = 6, V = 9, D = 4;
  auto embed = test::normal_values(V * D, 1), h = test::normal_values(T * D, 2);
  const std::vector<int32_t> targets = {3, -1, 0, 8, 3, -5};
  std::vector<double> nll(T), dh(T * D, 9.0), dembed(V * D, 0.0);
  LinearBank<F64> bank(1, V, D, embed.data(), nullptr);
  const auto loss = [&] {
    bank.weights_changed();
    run(OutputLoss<F64>{bank, {h.data(), T, D}, targets, nll});
    double sum = 0.0;
    for (const double value : nll) sum += value;
    return sum;
  };
  const double value = loss();
  run(OutputLossWithGradient<F64>{bank, {h.data(), T, D}, targets, nll, {dh.data(), T, D}, dembed.data()});
  double sum = 0.0;
  for (const double term : nll) sum += term;
  EXPECT_DOUBLE_EQ(sum, value);
  EXPECT_EQ(nll[1], 0.0);
  EXPECT_EQ(nll[5], 0.0);
  test::expect_gradient(loss, h, dh);
  test::expect_gradient(loss, embed, dembed);
}

TEST(OutputLossGradient, AddsToTheEmbedding) {
  constexpr int64_t T = 2, V = 3, D = 2;
  const auto embed = test::normal_values(V * D, 1), h = test::normal_values(T * D, 2);
  const std::vector<int32_t> targets = {2, 0};
  std::vector<double> nll(T), dh(T * D), once(V * D, 0.0), twice(V * D, 0.0);
  const LinearBank<F64> bank(1, V, D, embed.data(), nullptr);
  run(OutputLossWithGradient<F64>{bank, {h.data(), T, D}, targets, nll, {dh.data(), T, D}, once.data()});
  for (int repeat = 0; repeat < 2; ++repeat)
    run(OutputLossWithGradient<F64>{bank, {h.data(), T, D}, targets, nll, {dh.data(), T, D}, twice.data()});
  for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(twice[i], 2.0 * once[i], 1e-15);
}

}  // namespace
}  // namespace troupe
