// Every row of the noise on the router's inputs against the reference, bit by bit.
#include "ops/jitter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "gradient.h"
#include "implementations.h"

namespace troupe {
namespace {

template <class real>
class JitterParity : public testing::Test {};
using JitterReals = testing::Types<float, double>;
TYPED_TEST_SUITE(JitterParity, JitterReals);

TYPED_TEST(JitterParity, EveryRowDrawsTheSame) {
  using real = TypeParam;
  for (const int64_t T : {1, 7, 130})
    for (const int64_t D : {1, 6, 64}) {
      const auto jittered = [&](std::string_view row) {
        std::vector<real> x = test::normal_values<real>(T * D, 3);
        test::run_as(row, Jitter<real>{.amount = 0.2, .key = 9, .first_row = 5, .x_TD = {x.data(), T, D}});
        return x;
      };
      const std::vector<real> expected = jittered("ref"), x = test::normal_values<real>(T * D, 3);
      for (const std::string_view row : test::usable<Jitter<real>>()) EXPECT_EQ(jittered(row), expected) << row;
      double least = 2.0, most = 0.0;
      for (size_t i = 0; i < x.size(); ++i)
        least = std::min(least, double{expected[i] / x[i]}), most = std::max(most, double{expected[i] / x[i]});
      EXPECT_GE(least, 0.8 - 1e-6);
      EXPECT_LE(most, 1.2 + 1e-6);
      if (T * D > 8000) {
        EXPECT_NEAR(most - least, 0.4, 0.01);
      }
    }
}

}  // namespace
}  // namespace troupe
