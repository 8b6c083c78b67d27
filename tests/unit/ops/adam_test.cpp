#include "ops/adam.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/chance.h"

namespace troupe {
namespace {

// Two updates by hand with beta1 = 0.5, beta2 = 0.75, so that every term shows.
TEST(Adam, FollowsFairseqsEquations) {
  std::vector<double> p = {1.0}, m = {0.0}, v = {0.0};
  const std::vector<double> g = {4.0};
  AdamStep step{.lr = 0.1, .beta1 = 0.5, .beta2 = 0.75, .eps = 0.5, .weight_decay = 0.2, .t = 1};
  run(AdamUpdate<double>{p, g, m, v, step, 0.5});  // gradient 2
  EXPECT_DOUBLE_EQ(m[0], 1.0);
  EXPECT_DOUBLE_EQ(v[0], 1.0);
  // decay 0.02; rate 0.1 * 0.5 / 0.5; 1 / (1 + 0.5)
  EXPECT_DOUBLE_EQ(p[0], 0.98 - 0.1 / 1.5);
  step.t = 2;
  const double before = p[0];
  run(AdamUpdate<double>{p, g, m, v, step, 0.5});
  EXPECT_DOUBLE_EQ(m[0], 1.5);
  EXPECT_DOUBLE_EQ(v[0], 1.75);
  EXPECT_DOUBLE_EQ(p[0], before - 0.02 * before - 0.1 * std::sqrt(1.0 - 0.5625) / 0.75 * 1.5 / (std::sqrt(1.75) + 0.5));
}

TEST(Adam, UsualFormAddsEpsilonAfterBiasCorrection) {
  std::vector<double> p = {1.0}, m = {0.0}, v = {0.0};
  const std::vector<double> g = {2.0};
  const AdamStep step{.lr = 0.1, .beta1 = 0.5, .beta2 = 0.75, .eps = 0.5, .t = 1, .form = AdamStep::Form::kUsual};
  run(AdamUpdate<double>{p, g, m, v, step, 1.0});
  EXPECT_DOUBLE_EQ(p[0], 1.0 - 0.1 * 2.0 / (2.0 + 0.5));  // m / 0.5 = 2, sqrt(v / 0.25) = 2
}

TEST(Adam, MovesMomentsAtRateZero) {
  std::vector<float> p = {1.0f}, m = {0.0f}, v = {0.0f};
  const std::vector<float> g = {3.0f};
  run(AdamUpdate<float>{p, g, m, v, {.lr = 0.0, .t = 1}, 1.0});
  EXPECT_EQ(p[0], 1.0f);
  EXPECT_GT(m[0], 0.0f);
  EXPECT_GT(v[0], 0.0f);
}

// Of the 65,536 chances as many lift a value as it is 65,536ths of the way to the next number away from 0.
TEST(RoundByChance, GivesAValueOnAverage) {
  for (const float value : {1.0f, 1.0001f, -1.0001f, 3.14159f, -2.71828e-20f, 1e-39f, 65504.0f, 0.0f}) {
    const auto word = std::bit_cast<uint32_t>(value);
    const auto below = static_cast<uint16_t>(word >> 16);
    int64_t lifted = 0;
    for (uint32_t chance = 0; chance < 65536; ++chance) {
      const uint16_t bits = round_by_chance(value, chance).bits;
      ASSERT_TRUE(bits == below || bits == below + 1) << value;
      lifted += bits != below;
    }
    EXPECT_EQ(lifted, word & 0xFFFF) << value;
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(static_cast<float>(round_by_chance(-kInfinity, 65535)), -kInfinity);
  EXPECT_TRUE(std::isnan(static_cast<float>(round_by_chance(std::bit_cast<float>(0x7F800001u), 0))));
}

// Steps of a second moment that is near its mean are smaller than half of what bf16 tells apart: rounded to the nearest
// it would stand at 0.34.
TEST(Adam, MomentsInBf16ReachTheirMean) {
  constexpr size_t kElements = 1024;
  std::vector<float> p(kElements), g(kElements, 1.0f);
  std::vector<bf16> m(kElements), v(kElements);
  for (uint64_t t = 1; t <= 4000; ++t)
    run(AdamUpdateBf16<float>{p, g, m, v, {.lr = 0.0, .beta1 = 0.9, .beta2 = 0.999}, 1.0, t, 0});
  double mean_m = 0.0, mean_v = 0.0;
  for (size_t i = 0; i < kElements; ++i) mean_m += m[i] / double{kElements}, mean_v += v[i] / double{kElements};
  EXPECT_NEAR(mean_m, 1.0, 0.002);
  EXPECT_NEAR(mean_v, 1.0 - std::pow(0.999, 4000), 0.005);
}

TEST(GradientScan, SumsSquares) {
  std::vector<float> values(100003, 0.5f);
  EXPECT_DOUBLE_EQ(sum_of_squares<float>(values), 100003 * 0.25);
  EXPECT_EQ(sum_of_squares<float>({}), 0.0);
  values[77777] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(sum_of_squares<float>(values)));
}

TEST(GradientScan, FindsTheFirstValueThatIsNotFinite) {
  std::vector<float> values(70001, 1.0f);
  EXPECT_EQ(find_non_finite<float>(values), -1);
  EXPECT_EQ(find_non_finite<float>({}), -1);
  values[70000] = std::nanf("");
  EXPECT_EQ(find_non_finite<float>(values), 70000);
  values[69999] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(find_non_finite<float>(values), 69999);
  values[3] = std::numeric_limits<float>::max();
  EXPECT_EQ(find_non_finite<float>(values), 69999);
}

}  // namespace
}  // namespace troupe
