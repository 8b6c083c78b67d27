// Norm, clipping and the stop at values that are not finite.
#include "train/gradients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "error_of.h"

namespace troupe {
namespace {

using test::error_of;
using testing::HasSubstr;

ParameterTable small_table() {
  ParameterTable table;
  table.add({.name = "a.weight", .shape = {2, 3}});
  table.add({.name = "b.bias", .shape = {4}});
  return table;
}

TEST(Gradients, NormIsOfTheMeanLossOverAllParameters) {
  const ParameterTable table = small_table();
  ParameterStore<float> grads(table);
  grads.at("a.weight")[1] = 6.0f;
  grads.at("b.bias")[3] = 8.0f;
  EXPECT_DOUBLE_EQ(gradient_norm(grads, 1), 10.0);
  EXPECT_DOUBLE_EQ(gradient_norm(grads, 5), 2.0);
}

TEST(Gradients, ClippingFollowsFairseq) {
  EXPECT_DOUBLE_EQ(clip_factor(2.0, 0.5), 0.5 / (2.0 + 1e-6));
  EXPECT_DOUBLE_EQ(clip_factor(0.25, 0.5), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(100.0, 0.0), 1.0);
}

TEST(Gradients, NonFiniteValuesAreNamed) {
  const ParameterTable table = small_table();
  ParameterStore<float> params(table), grads(table);
  const LossSum fine{.nll = 1.0, .total = 1.0, .tokens = 1};
  const auto message = [&](const LossSum& loss, double norm) {
    return error_of([&] { require_finite(12, loss, norm, params, grads); }, ErrorCode::kNonFinite);
  };
  EXPECT_EQ(message(fine, 1.0), "");
  LossSum bad = fine;
  bad.total = std::numeric_limits<double>::infinity();
  EXPECT_THAT(message(bad, 1.0), HasSubstr("step 12: loss: expected a finite value, got inf"));
  grads.at("b.bias")[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(message(fine, gradient_norm(grads, 1)),
              HasSubstr("step 12: gradient of b.bias: expected finite values, got nan at index 2"));
  params.at("a.weight")[5] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(message(fine, gradient_norm(grads, 1)),
              HasSubstr("step 12: a.weight: expected finite values, got -inf at index 5"));
}

}  // namespace
}  // namespace troupe
