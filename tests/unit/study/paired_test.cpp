#include "study/paired.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "study/seeds.h"
#include "troupe/error.h"

namespace troupe {
namespace {

TEST(PairedDifference, IsTheRatioEstimatorByHand) {
  // d = (-2, -6, -1), n = (10, 20, 10): R = -9/40 = -0.225; residuals 0.25, -1.5, 1.25; squares 0.0625 + 2.25 + 1.5625.
  const std::vector<double> a = {20, 50, 30}, b = {18, 44, 29};
  const std::vector<int64_t> n = {10, 20, 10};
  const PairedDifference result = paired_difference(a, b, n);
  EXPECT_DOUBLE_EQ(result.difference, -0.225);
  EXPECT_DOUBLE_EQ(result.standard_error, std::sqrt(1.5 * 3.875) / 40);
  EXPECT_EQ(result.documents, 3);
  EXPECT_EQ(result.tokens, 40);
  EXPECT_NEAR(result.half_interval(), 4.3027 * result.standard_error, 1e-3);  // t with two degrees of freedom
  EXPECT_EQ(result.verdict(), Verdict::kUndecided);  // 0.225 < 0.259
  EXPECT_GT(paired_difference(b, a, n).difference, 0.0);
}

TEST(PairedDifference, IsPlainForDocumentsOfOneLength) {
  // Equal lengths: mean and s / sqrt(N) of the per-token differences 0.1, 0.3, 0.2, 0.4.
  const std::vector<double> a = {0, 0, 0, 0}, b = {1, 3, 2, 4};
  const std::vector<int64_t> n = {10, 10, 10, 10};
  const PairedDifference result = paired_difference(a, b, n);
  EXPECT_NEAR(result.difference, 0.25, 1e-15);
  EXPECT_NEAR(result.standard_error, std::sqrt((0.0225 + 0.0025 + 0.0025 + 0.0225) / 3) / 2, 1e-15);
}

TEST(PairedDifference, IsUndecidedWithinTheIntervalOverDocuments) {
  const std::vector<double> a = {10, 10, 10}, b = {12, 7, 11.5}, c = {5, 5.1, 5.2};
  const std::vector<int64_t> n = {5, 5, 5};
  EXPECT_EQ(paired_difference(a, b, n).verdict(), Verdict::kUndecided);
  EXPECT_EQ(paired_difference(a, c, n).verdict(), Verdict::kBetter);
  EXPECT_EQ(paired_difference(c, a, n).verdict(), Verdict::kWorse);
}

TEST(Spread, HasAVerdictFromTwoTrainingsOn) {
  EXPECT_EQ((Spread{{-0.3, -0.31, -0.32}}).verdict(), Verdict::kBetter);
  EXPECT_EQ((Spread{{0.3, 0.31, 0.32}}).verdict(), Verdict::kWorse);
  EXPECT_EQ((Spread{{-0.3, 0.31, -0.2}}).verdict(), Verdict::kUndecided);
  EXPECT_EQ((Spread{{-0.3}}).verdict(), Verdict::kUnknown);
  EXPECT_EQ(Spread{}.verdict(), Verdict::kUnknown);
}

TEST(PairedDifference, NeedsTheSameDocuments) {
  const DocumentScores a = {{10.0, 5}, {20.0, 10}}, b = {{9.0, 5}, {18.0, 10}}, other = {{9.0, 6}, {18.0, 9}};
  ASSERT_TRUE(paired_difference(a, b));
  EXPECT_DOUBLE_EQ(paired_difference(a, b)->difference, -0.2);
  EXPECT_FALSE(paired_difference(a, other));
  EXPECT_FALSE(paired_difference(a, DocumentScores{{9.0, 5}}));
  EXPECT_FALSE(paired_difference({}, {}));
  EXPECT_FALSE(paired_difference(DocumentScores{{0.0, 0}}, DocumentScores{{0.0, 0}}));
}

TEST(PairedDifference, OfOneDocumentOrEqualModelsSaysNothing) {
  const PairedDifference one = paired_difference(std::vector{5.0}, std::vector{1.0}, std::vector<int64_t>{4});
  EXPECT_EQ(one.difference, -1.0);
  EXPECT_TRUE(std::isnan(one.standard_error));
  EXPECT_EQ(one.verdict(), Verdict::kUnknown);
  const std::vector<double> a = {1, 2};
  EXPECT_EQ(paired_difference(a, a, std::vector<int64_t>{3, 4}).verdict(), Verdict::kUndecided);
}

// Without a true difference about 5 % of experiments are called real.
TEST(PairedDifference, HasTheConfidenceThatItClaims) {
  std::mt19937 random(3);
  std::normal_distribution<double> noise;
  int real = 0;
  constexpr int kExperiments = 2000;
  for (int experiment = 0; experiment < kExperiments; ++experiment) {
    std::vector<double> a(50), b(50);
    std::vector<int64_t> n(50);
    for (size_t i = 0; i < n.size(); ++i) {
      n[i] = 20 + static_cast<int64_t>(random() % 200);
      a[i] = 4.0 * static_cast<double>(n[i]) + 10 * noise(random);
      b[i] = a[i] + std::sqrt(static_cast<double>(n[i])) * noise(random);
    }
    real += paired_difference(a, b, n).verdict() != Verdict::kUndecided;
  }
  EXPECT_NEAR(real / static_cast<double>(kExperiments), 0.05, 0.02);
}

TEST(PairedDifference, RefusesOtherDocuments) {
  const std::vector<double> two = {1, 2}, three = {1, 2, 3};
  const std::vector<int64_t> n = {1, 1}, none = {0, 0};
  EXPECT_THROW(paired_difference(two, three, n), Error);
  EXPECT_THROW(paired_difference(two, two, none), Error);
  EXPECT_THROW(paired_difference({}, {}, {}), Error);
}

}  // namespace
}  // namespace troupe
