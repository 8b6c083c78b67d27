#include "base/quantity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace troupe {
namespace {

TEST(Quantity, HasThreeDigitsAndAUnit) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(7), "7");
  EXPECT_EQ(short_number(7.5), "7.50");
  EXPECT_EQ(short_number(999), "999");
  EXPECT_EQ(short_number(999.6), "1.00k");
  EXPECT_EQ(short_number(1234567), "1.23M");
  EXPECT_EQ(short_number(45.6e9), "45.6B");
  EXPECT_EQ(short_number(-1234), "-1.23k");
  EXPECT_EQ(short_bytes(45.6e9), "45.6 GB");
  EXPECT_EQ(short_flops(142e12), "142 TFLOPs");
  EXPECT_EQ(short_duration(12.4), "12 s");
  EXPECT_EQ(short_duration(187), "3 min 07 s");
  EXPECT_EQ(short_duration(7500), "2 h 05 min");
}

TEST(Quantity, CountsInOneFormOfTheNounOrTheOther) {
  EXPECT_EQ(counted(0, "file"), "0 files");
  EXPECT_EQ(counted(1, "file"), "1 file");
  EXPECT_EQ(counted(12, "file"), "12 files");
  EXPECT_EQ(short_counted(1, "document"), "1 document");
  EXPECT_EQ(short_counted(50540, "document"), "50.5k documents");
  EXPECT_EQ(counted(1, "micro-batch", "micro-batches"), "1 micro-batch");
  EXPECT_EQ(counted(2, "micro-batch", "micro-batches"), "2 micro-batches");
}

TEST(Quantity, WritesDifferencesWithTheirSign) {
  EXPECT_EQ(difference_text(0.03, 4), "+0.0300");
  EXPECT_EQ(difference_text(-0.03, 4), "-0.0300");
  EXPECT_EQ(number_text(-0.00001, 2), "0.00") << "no -0.00";
  EXPECT_EQ(interval_text(2.1241, 0.004, 4), "2.1241 ± 0.0040");
  EXPECT_EQ(percent_text(0.125), "12.5 %");
}

TEST(Quantity, IsADashWhereNothingIsKnown) {
  for (const double none : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL, -HUGE_VAL}) {
    EXPECT_EQ(number_text(none, 2), "–");
    EXPECT_EQ(difference_text(none, 2), "–");
    EXPECT_EQ(percent_text(none), "–");
    EXPECT_EQ(short_number(none), "–");
    EXPECT_EQ(short_bytes(none), "–");
    EXPECT_EQ(short_flops(none), "–");
    EXPECT_EQ(short_duration(none), "–");
  }
  EXPECT_EQ(interval_text(1, std::nan(""), 2), "1.00");
}

}  // namespace
}  // namespace troupe
