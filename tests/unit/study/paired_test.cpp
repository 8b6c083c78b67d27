#include "study/paired.h"

#include <gtest/gtest.h>

#include <cmath>

namespace troupe {
namespace {

TEST(PairedDifference, IsARatioOfSumsWithDocumentsAsUnits) {
  // Differences -2, 1, -3 over 1, 2, 3 tokens: -4 / 6. Residuals -2 + 2/3, 1 + 4/3, -3 + 2: -4/3, 7/3, -1.
  const std::vector<DocumentScore> a = {{1.0, 1, 4}, {3.0, 2, 8}, {2.0, 3, 12}},
                                   b = {{3.0, 1, 4}, {2.0, 2, 8}, {5.0, 3, 12}};
  const PairedDifference result = paired_difference(a, b);
  EXPECT_NEAR(result.difference, -4.0 / 6.0, 1e-15);
  EXPECT_NEAR(result.standard_error, std::sqrt(1.5 * (16.0 / 9 + 49.0 / 9 + 1)) / 6.0, 1e-15);
  EXPECT_EQ(result.documents, 3);
  EXPECT_FALSE(result.is_real());
  EXPECT_NEAR(paired_difference(b, a).difference, 4.0 / 6.0, 1e-15);
}

TEST(PairedDifference, EqualShiftsPerTokenAreReal) {
  std::vector<DocumentScore> a, b;
  for (int64_t n = 1; n <= 10; ++n) {
    b.push_back({5.0 * static_cast<double>(n), n, n});
    a.push_back({4.9 * static_cast<double>(n), n, n});
  }
  const PairedDifference result = paired_difference(a, b);
  EXPECT_NEAR(result.difference, -0.1, 1e-12);
  EXPECT_NEAR(result.standard_error, 0.0, 1e-12);
  EXPECT_TRUE(result.is_real());
}

TEST(PairedDifference, OneDocumentProvesNothing) {
  EXPECT_FALSE(paired_difference({{1.0, 5, 5}}, {{9.0, 5, 5}}).is_real());
}

TEST(PairedDifference, RefusesOtherDocuments) {
  EXPECT_ANY_THROW(paired_difference({{1.0, 5, 5}}, {{1.0, 6, 5}}));
  EXPECT_ANY_THROW(paired_difference({{1.0, 5, 5}}, {}));
}

}  // namespace
}  // namespace troupe
