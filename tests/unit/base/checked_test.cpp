#include "base/checked.h"

#include <gtest/gtest.h>

#include <limits>

#include "troupe/error.h"

namespace troupe {
namespace {

TEST(CheckedProduct, IsTheProductOrNamesTheFactors) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(checked_product({}, "x"), 1);
  EXPECT_EQ(checked_product({3, 4, 5}, "x"), 60);
  EXPECT_EQ(checked_product({kLargest, 1, 1}, "x"), kLargest);
  EXPECT_EQ(checked_product({int64_t{1} << 31, int64_t{1} << 31}, "x"), int64_t{1} << 62);
  try {
    checked_product({int64_t{1} << 32, int64_t{1} << 31}, "batch x context");
    FAIL() << "2^63 fits";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(), "batch x context: expected a product below 2^63, got 4294967296 x 2147483648");
  }
}

}  // namespace
}  // namespace troupe
