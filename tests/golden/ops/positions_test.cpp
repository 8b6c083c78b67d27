// Sinusoidal positions against rows that fairseq's code computed (tests/data/golden/positions).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/safetensors.h"
#include "ops/embedding.h"

namespace troupe {
namespace {

TEST(SinusoidalPositions, EqualFairseqs) {
  const SafetensorsFile file(TROUPE_TEST_DATA "/golden/positions/sinusoid.safetensors");
  const Tensor rows = file.read("rows");
  const auto row_numbers = rows.as<int64_t>();
  const int64_t count = *std::max_element(row_numbers.begin(), row_numbers.end()) + 1;
  for (const int64_t D : {64, 768, 1024, 2048, 4096}) {
    const Tensor expected = file.read_f32("d" + std::to_string(D));
    std::vector<float> table(static_cast<size_t>(count * D), 7.0f);
    run(SinusoidalPositions<float>{{table.data(), count, D}});
    int64_t different = 0;
    for (size_t r = 0; r < row_numbers.size(); ++r)
      for (int64_t d = 0; d < D; ++d) {
        const float got = table[row_numbers[r] * D + d], want = expected.as<float>()[r * D + d];
        ASSERT_NEAR(got, want, 1e-6) << "d" << D << " row " << row_numbers[r] << " column " << d;
        different += got != want;
      }
    // The angles have the same bits, so only the rounding of sin and cos may differ, and rarely.
    EXPECT_LE(different, static_cast<int64_t>(row_numbers.size()) * D / 16) << "d" << D;
  }
}

TEST(SinusoidalPositions, ZeroThePadRowAndAnOddLastColumn) {
  std::vector<float> table(4 * 5, 7.0f);
  run(SinusoidalPositions<float>{{table.data(), 4, 5}});
  for (int64_t d = 0; d < 5; ++d) EXPECT_EQ(table[5 + d], 0.0f);
  for (int64_t p = 0; p < 4; ++p) EXPECT_EQ(table[p * 5 + 4], 0.0f);
  EXPECT_EQ(table[2], 1.0f);                                               // cos 0
  EXPECT_FLOAT_EQ(table[2 * 5 + 1], static_cast<float>(std::sin(2e-4f)));  // w_1 = exp(-ln 10000)
  std::vector<float> narrow(3 * 2);
  run(SinusoidalPositions<float>{{narrow.data(), 3, 2}});  // one frequency: w_0 = 1
  EXPECT_FLOAT_EQ(narrow[4], std::sin(2.0f));
}

}  // namespace
}  // namespace troupe
