#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

TEST(DropoutGradient, MatchesCentralDifferences) {
  constexpr int64_t T = 5, D = 7;
  const Dropout dropout{.probability = 0.4f, .key = 3, .first_row = 2};
  auto z = test::normal_values(T * D, 1);
  const auto dx = test::normal_values(T * D, 2);
  std::vector<double> dz(T * D);
  const auto loss = [&] {
    double sum = 0.0;
    for (int64_t t = 0; t < T; ++t)
      for (int64_t d = 0; d < D; ++d) sum += dx[t * D + d] * z[t * D + d] * dropout.scale(t, d, D);
    return sum;
  };
  run(DropoutBackward<F64>{{dx.data(), T, D}, dropout, {dz.data(), T, D}});
  test::expect_gradient(loss, z, dz);
}

}  // namespace
}  // namespace troupe
