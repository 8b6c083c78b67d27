// The activations of passes in bf16 on a GPU (kernels/cuda/activation.h) against the same functions in double.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/activation.h"
#include "kernels/cuda/activation.h"

namespace troupe::cuda {
namespace {

double normal(double z) { return 0.5 * std::erfc(-z * std::sqrt(0.5)); }
double gauss(double z) { return std::exp(-0.5 * z * z) / std::sqrt(2.0 * M_PI); }
double sigmoid(double z) { return 1.0 / (1.0 + std::exp(-z)); }

double activation_of(Activation kind, double z) {
  if (kind == Activation::kGeluErf) return z * normal(z);
  if (kind == Activation::kSilu) return z * sigmoid(z);
  return z * sigmoid(2.0 * std::sqrt(2.0 / M_PI) * (z + 0.044715 * z * z * z));
}
double derivative_of(Activation kind, double z) {
  if (kind == Activation::kGeluErf) return normal(z) + z * gauss(z);
  const double of_u = kind == Activation::kSilu ? 1.0 : 2.0 * std::sqrt(2.0 / M_PI) * (1.0 + 3.0 * 0.044715 * z * z);
  const double u = kind == Activation::kSilu ? z : 2.0 * std::sqrt(2.0 / M_PI) * (z + 0.044715 * z * z * z);
  return sigmoid(u) + z * sigmoid(u) * (1.0 - sigmoid(u)) * of_u;
}

constexpr double kTiny = 0x1p-120;  // where float32 ends

template <Activation kind>
void expect_near_double() {
  for (int i = -12000; i <= 12000; ++i) {
    const float z = static_cast<float>(i) / 1000.0f;
    const double y = activation_of(kind, z), slope = derivative_of(kind, z);
    ASSERT_NEAR(quick::activate<kind>(z), y, std::abs(y) * 0x1p-15 + kTiny) << z;
    // The slope is a sum whose parts may cancel: they are near in size to sigmoid or density times |z|.
    const double parts =
        std::abs(z) * (std::abs(slope) + std::abs(y / (std::abs(z) + 1e-9)) + gauss(z)) + std::abs(slope);
    ASSERT_NEAR(quick::derivative<kind>(z), slope, parts * 0x1p-15 + kTiny) << z;
  }
}

TEST(QuickActivation, IsWithinItsBound) {
  expect_near_double<Activation::kGeluErf>();
  expect_near_double<Activation::kGeluTanh>();
  expect_near_double<Activation::kSilu>();
}

TEST(QuickActivation, FarOutAndNaN) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(quick::activate<Activation::kGeluErf>(40.0f), 40.0f);
  EXPECT_EQ(quick::activate<Activation::kGeluErf>(-40.0f), 0.0f);
  EXPECT_EQ(quick::derivative<Activation::kGeluErf>(40.0f), 1.0f);
  EXPECT_EQ(quick::derivative<Activation::kGeluErf>(-40.0f), 0.0f);
  EXPECT_TRUE(std::isnan(quick::activate<Activation::kGeluErf>(kNaN)));
  EXPECT_TRUE(std::isnan(quick::activate<Activation::kSilu>(kNaN)));
  EXPECT_TRUE(std::isnan(quick::derivative<Activation::kGeluTanh>(kNaN)));
}

}  // namespace
}  // namespace troupe::cuda
