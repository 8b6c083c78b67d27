// Every implementation of the passes that move or sum values against the reference, bit for bit.
#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "kernels/past_caches.h"
#include "parity.h"

namespace troupe {
namespace {

using test::Guarded;
using test::Layout;

struct Case {
  int64_t rows, cols;
  Layout layout;
};
const Case kCases[] = {{0, 3, {}}, {1, 1, {}}, {63, 5, {2, 1}}, {65, 17, {0, 3}}, {130, 64, {}}};

template <class T>
class Moves : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Moves, Types);

TYPED_TEST(Moves, EveryCopyEqualsTheReference) {
  using Task = Copy<TypeParam>;
  for (const Case& c : kCases) {
    Guarded<TypeParam> source(c.rows, c.cols, c.layout), expected(c.rows, c.cols);
    source.fill_normal(1);
    test::run_as("ref", Task{std::as_const(source).view(), expected.view()});
    EXPECT_TRUE(test::equal_bits(source, expected));
    for (const std::string_view row : test::usable<Task>()) {
      Guarded<TypeParam> copy(c.rows, c.cols, c.layout);
      test::run_as(row, Task{std::as_const(source).view(), copy.view()});
      EXPECT_TRUE(test::equal_bits(expected, copy)) << row << " rows " << c.rows;
      copy.expect_guards_intact(std::string(row));
    }
  }
}

TEST(FillParity, EveryImplementationEqualsTheReference) {
  for (const Case& c : kCases) {
    Guarded<float> expected(c.rows, c.cols);
    test::run_as("ref", Fill<float>{2.5f, expected.view()});
    for (int64_t i = 0; i < c.rows; ++i) EXPECT_EQ(expected(i, c.cols - 1), 2.5f);
    for (const std::string_view row : test::usable<Fill<float>>()) {
      Guarded<float> x(c.rows, c.cols, c.layout);
      test::run_as(row, Fill<float>{2.5f, x.view()});
      EXPECT_TRUE(test::equal_bits(expected, x)) << row << " rows " << c.rows;
      x.expect_guards_intact(std::string(row));
    }
  }
}

// Written past the caches: from any place on, of any number, and no more.
TEST(FillParity, MoreThanCachesHold) {
  std::vector<float> values(kMoreThanCachesHold / sizeof(float) + 70000, 1.0f);
  for (const std::string_view row : test::usable<Fill<float>>())
    for (const size_t first : {1, 2, 7}) {
      const size_t count = values.size() - 65541 - first;
      std::fill(values.begin(), values.end(), 1.0f);
      test::run_as(row, Fill<float>{2.5f, {values.data() + first, 1, static_cast<int64_t>(count)}});
      for (size_t i = 0; i < values.size(); ++i)
        if (values[i] != (i >= first && i < first + count ? 2.5f : 1.0f)) FAIL() << row << ", element " << i;
    }
}

// 2^54 + 1 - 2^54 is 0 in this order in double and 1 in another.
TEST(SumParity, SumsInOrderAndInDouble) {
  const std::vector<float> values = {0x1p54f, 1.0f, -0x1p54f, 0x1p-30f, 1.0f};
  for (const std::string_view row : test::usable<Sum<float>>()) {
    double sum = 7.0;
    test::run_as(row, Sum<float>{values, &sum});
    EXPECT_EQ(sum, 1.0 + 0x1p-30) << row;
    test::run_as(row, Sum<float>{{}, &sum});
    EXPECT_EQ(sum, 0.0) << row;
  }
}

}  // namespace
}  // namespace troupe
