#include "ops/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

constexpr int64_t kT = 4, kN = 3, kC = 10, kR = 6, kRows = 9;
const std::vector<int32_t> kPositions = {2, 3, 8, 1};

std::vector<double> table_of(double factor) {
  std::vector<double> table(kRows * kR);
  const RotaryFrequencies frequencies = rotary_frequencies({.theta = 100.0}, kR, 64, 0);
  run(RotaryTable<double>{frequencies.w, factor, -2, {table.data(), kRows, kR}});
  return table;
}

TEST(RotaryGradient, MatchesCentralDifferences) {
  const std::vector<double> table = table_of(1.3);
  auto x = test::normal_values(kT * kN * kC, 1);
  const auto dy = test::normal_values(kT * kN * kC, 2);
  const auto loss = [&] {
    std::vector<double> y = x;
    run(Rotary<F64>{{y.data(), kT, kN * kC}, kC, kPositions, {table.data(), kRows, kR}});
    return test::dot(dy, y);
  };
  std::vector<double> dx = dy;
  run(Rotary<F64>{{dx.data(), kT, kN * kC}, kC, kPositions, {table.data(), kRows, kR}, true});
  test::expect_gradient(loss, x, dx);
}

// Halves turn by p w_j with w_j = theta^(-2 j / R); position 0 and columns from R on stay.
TEST(Rotary, TurnsHalvesAgainstEachOther) {
  const std::vector<double> table = table_of(1.0);
  std::vector<double> x(kT * kN * kC, 0.0);
  for (int64_t t = 0; t < kT; ++t)
    for (int64_t c = 0; c < kC; ++c) x[t * kN * kC + c] = c == 1 ? 1.0 : c >= kR ? 7.0 : 0.0;
  run(Rotary<F64>{{x.data(), kT, kN * kC}, kC, kPositions, {table.data(), kRows, kR}});
  const double angle = 6.0 * std::pow(100.0, -2.0 / 6.0);  // the third token's position is 8 - 2
  EXPECT_EQ(x[1], 1.0);
  EXPECT_EQ(x[4], 0.0);
  EXPECT_NEAR(x[2 * kN * kC + 1], std::cos(angle), 1e-6);
  EXPECT_NEAR(x[2 * kN * kC + 4], std::sin(angle), 1e-6);
  for (int64_t c = kR; c < kC; ++c) EXPECT_EQ(x[2 * kN * kC + c], 7.0);
}

}  // namespace
}  // namespace troupe
