// Accuracy of the vector functions at every level of this machine, in units in the last place of the result, over a
// sample of all float32 numbers (every 4,099th bit pattern) and the points where their branches meet.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/isa.h"
#include "kernels/table.h"

namespace troupe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kSmallest = std::numeric_limits<float>::min();

struct Function {
  const char* name;
  void (*FunctionKernels::*kernel)(const float*, int64_t, float*);
  double (*exact)(double);
  float low, high;  // where it is defined
  double largest_error;
  double smallest_unit = 0.0;  // errors are measured in units of at least this
};

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

const Function kFunctions[] = {
    {"exp", &FunctionKernels::exp, std::exp, -kInfinity, kInfinity, 1.1},
    {"exp_nonpositive", &FunctionKernels::exp_nonpositive, std::exp, -kInfinity, 0.0f, 1.1},
    {"exp2_nonpositive", &FunctionKernels::exp2_nonpositive, std::exp2, -kInfinity, 0.0f, 1.1},
    {"normal_cdf", &FunctionKernels::normal_cdf, normal_cdf, -kInfinity, kInfinity, 1.7, 0x1p-24},
    {"normal_cdf", &FunctionKernels::normal_cdf, normal_cdf, -3.0f, kInfinity, 24.0},
    {"tanh", &FunctionKernels::tanh, std::tanh, -kInfinity, kInfinity, 1.7},
    {"log", &FunctionKernels::log, [](double x) { return x < kSmallest ? -HUGE_VAL : std::log(x); }, 0.0f, kInfinity,
     0.95},
};

std::vector<float> sample(const Function& f) {
  std::vector<float> values;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 4099) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (x >= f.low && x <= f.high) values.push_back(x);
  }
  for (const float centre : {0.625f, 1.0f, 6.0f, 4.0f, 10.0f, 87.3365478f, 88.7228317f, 126.0f, 0.0f, kSmallest})
    for (const float sign : {-1.0f, 1.0f})
      for (int32_t step = -3000; step <= 3000; ++step) {
        const float x = sign * std::bit_cast<float>(std::bit_cast<int32_t>(centre + 1e-30f) + step);
        if (x >= f.low && x <= f.high) values.push_back(x);
      }
  values.push_back(f.low), values.push_back(f.high);
  return values;
}

// Error of y against the exact value in units in the last place of its rounding to float32.
double error(double exact, float y, double smallest_unit) {
  if (std::isnan(y)) return HUGE_VAL;
  if (smallest_unit == 0.0 && std::abs(exact) < kSmallest) return std::abs(y) <= kSmallest ? 0.0 : HUGE_VAL;  // flushed
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded)) return y == rounded ? 0.0 : HUGE_VAL;
  const double ulp = static_cast<double>(std::nextafter(std::abs(rounded), kInfinity)) - std::abs(rounded);
  const double unit = std::max(ulp, smallest_unit);
  return std::abs(static_cast<double>(y) - exact) / unit;
}

class VectorFunctions : public testing::TestWithParam<Isa> {};

TEST_P(VectorFunctions, AreAccurateEverywhere) {
  if (detected_isa() < GetParam()) GTEST_SKIP() << "this machine lacks " << name_of_enum(GetParam());
  for (const Function& f : kFunctions) {
    const std::vector<float> x = sample(f);
    std::vector<float> y(x.size());
    (kernels(GetParam()).functions.*f.kernel)(x.data(), static_cast<int64_t>(x.size()), y.data());
    double worst = 0.0;
    size_t at = 0;
    for (size_t i = 0; i < x.size(); ++i)
      if (const double e = error(f.exact(x[i]), y[i], f.smallest_unit); e > worst) worst = e, at = i;
    EXPECT_LE(worst, f.largest_error) << f.name << "(" << x[at] << ") = " << y[at] << ", exactly " << f.exact(x[at]);
  }
}

TEST_P(VectorFunctions, KeepNan) {
  if (detected_isa() < GetParam()) GTEST_SKIP() << "this machine lacks " << name_of_enum(GetParam());
  const std::vector<float> x(19, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> y(x.size());
  for (const Function& f : kFunctions) {
    (kernels(GetParam()).functions.*f.kernel)(x.data(), static_cast<int64_t>(x.size()), y.data());
    for (const float value : y) EXPECT_TRUE(std::isnan(value)) << f.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, VectorFunctions,
                         testing::Values(Isa::kGeneric, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx),
                         [](const auto& info) { return std::string(name_of_enum(info.param)); });

}  // namespace
}  // namespace troupe
