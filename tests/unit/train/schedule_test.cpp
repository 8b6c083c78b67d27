// Learning rates update by update, against values worked out from fairseq's formulas.
#include "train/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "error_of.h"

namespace troupe {
namespace {

using test::error_of;
using testing::HasSubstr;

std::vector<double> rates(const ScheduleConfig& config, int64_t count, int64_t steps = 100) {
  const Schedule schedule(config, steps);
  std::vector<double> values;
  for (int64_t n = 0; n < count; ++n) values.push_back(schedule(n));
  return values;
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-15) << "update " << i;
}

TEST(Schedule, PolynomialStartsAtZeroAndEndsAtTheEndRate) {
  expect_near(rates({.lr = 1e-3, .warmup_steps = 2, .decay_steps = 8}, 10),
              {0, 5e-4, 1e-3, 1e-3 * 5 / 6, 1e-3 * 4 / 6, 1e-3 * 3 / 6, 1e-3 * 2 / 6, 1e-3 / 6, 0, 0});
  expect_near(rates({.lr = 1.0, .decay_steps = 4, .end_lr = 0.2, .power = 2.0}, 6),
              {1.0, 0.2 + 0.8 * 0.5625, 0.2 + 0.8 * 0.25, 0.2 + 0.8 * 0.0625, 0.2, 0.2});
  expect_near(rates({.lr = 1.0, .warmup_steps = 4}, 5, 4), {0, 0.25, 0.5, 0.75, 1.0});  // warm-up until the end
}

TEST(Schedule, InverseSqrtPeaksAtTheEndOfTheWarmUp) {
  expect_near(rates({.kind = ScheduleKind::kInverseSqrt, .lr = 2.0, .warmup_steps = 4}, 6),
              {0, 0.5, 1.0, 1.5, 2.0, 2.0 * std::sqrt(4.0 / 5.0)});
  EXPECT_DOUBLE_EQ(Schedule({.kind = ScheduleKind::kInverseSqrt, .lr = 2.0, .warmup_steps = 4}, 100)(400), 0.2);
}

TEST(Schedule, Cosine) {
  expect_near(rates({.kind = ScheduleKind::kCosine, .lr = 1.0, .warmup_steps = 1, .decay_steps = 5, .end_lr = 0.5}, 7),
              {0, 1.0, 0.75 + 0.25 * std::sqrt(0.5), 0.75, 0.75 - 0.25 * std::sqrt(0.5), 0.5, 0.5});
}

TEST(Schedule, ConstantAndFixedDifferInTheWarmUp) {
  expect_near(rates({.kind = ScheduleKind::kConstant, .lr = 1.0, .warmup_steps = 2}, 4), {0, 0.5, 1.0, 1.0});
  expect_near(rates({.kind = ScheduleKind::kFixed, .lr = 1.0, .warmup_steps = 2}, 4), {0.5, 1.0, 1.0, 1.0});
  expect_near(rates({.kind = ScheduleKind::kConstant, .lr = 1.0}, 2), {1.0, 1.0});
  expect_near(rates({.kind = ScheduleKind::kFixed, .lr = 1.0}, 2), {1.0, 1.0});
}

TEST(Schedule, ConstantThenLinear) {
  const ScheduleConfig config{
      .kind = ScheduleKind::kConstantLinear, .lr = 1.0, .warmup_steps = 2, .end_lr = 0.2, .cooldown_fraction = 0.4};
  expect_near(rates(config, 12, 10), {0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2});
  expect_near(rates({.kind = ScheduleKind::kConstantLinear, .lr = 1.0, .decay_steps = 2, .cooldown_fraction = 1.0}, 4),
              {1.0, 0.5, 0.0, 0.0});
  expect_near(rates({.kind = ScheduleKind::kConstantLinear, .lr = 1.0, .cooldown_fraction = 0.0}, 3, 2), {1, 1, 1});
  // Two halves of an odd number: what is left after the warm-up.
  expect_near(rates({.kind = ScheduleKind::kConstantLinear, .lr = 3.0, .warmup_fraction = 0.5, .cooldown_fraction = 0.5},
                    6, 5),
              {0, 1.0, 2.0, 3.0, 1.5, 0.0});
}

TEST(Schedule, WarmUpAsAShareOfTheRun) {
  EXPECT_EQ(Schedule({.warmup_fraction = 0.04}, 977).warmup(), 39);
  EXPECT_EQ(Schedule({.warmup_fraction = 0.04}, 977).total(), 977);
}

TEST(Schedule, RefusesContradictions) {
  const auto message = [](const ScheduleConfig& config) {
    return error_of([&] { Schedule(config, 10); }, ErrorCode::kUsage);
  };
  EXPECT_THAT(message({.warmup_steps = 2, .warmup_fraction = 0.1}), HasSubstr("warmup_steps or warmup_fraction"));
  EXPECT_THAT(message({.warmup_steps = 11}), HasSubstr("expected at most the 10 steps of the decay, got 11"));
  EXPECT_THAT(message({.kind = ScheduleKind::kConstantLinear, .warmup_steps = 4, .cooldown_fraction = 0.7}),
              HasSubstr("train.schedule.cooldown_fraction: expected at most the 6 updates after the warm-up, got 7 of"));
  EXPECT_THAT(message({.kind = ScheduleKind::kInverseSqrt}), HasSubstr("expected at least 1 with inverse_sqrt"));
}

}  // namespace
}  // namespace troupe
