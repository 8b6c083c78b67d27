#include "base/time_left.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(TimeLeft, CountsFromWhereTheTaskWasFirstSeen) {
  TimeLeft left;
  EXPECT_FALSE(left(900, 1000, 60));  // resumed: a minute went into setting up
  EXPECT_FALSE(left(901, 1000, 60.5));
  EXPECT_DOUBLE_EQ(left(910, 1000, 80).value(), 180);  // 10 took 20 s
  EXPECT_FALSE(left(1000, 1000, 260));
}

TEST(TimeLeft, SaysNothingWithoutProgress) {
  TimeLeft left;
  EXPECT_FALSE(left(0, 10, 0));
  EXPECT_FALSE(left(0, 10, 100));
  EXPECT_DOUBLE_EQ(left(1, 10, 200).value(), 1800);
}

}  // namespace
}  // namespace troupe
