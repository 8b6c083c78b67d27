// What cuBLASLt is asked, by a stand-in that keeps it. (That the numbers are right, which the stand-in computes from
// descriptors and layouts alone, is the parity test of linear products.)
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "ops/linear.h"
#include "ops/loss.h"
#include "parity.h"
#include "recorded_cublaslt.h"
#include "setting.h"

namespace troupe {
namespace {

using cuda::lt::kBf16, cuda::lt::kCompute32F, cuda::lt::kF32;
using test::Guarded, test::LtCall, test::RecordedLt;

constexpr size_t kWorkspace = 32 << 20;

// Two experts with 4 and 2 rows, [24, 16] each.
template <class P>
struct Experts {
  using operand = typename P::operand;

  Experts() : weight(48, 16), bias(2, 24), x(6, 16, {8, 0}), y(6, 24), dy(6, 24), dx(6, 16), dw(48, 16), db(2, 24) {
    weight.fill_normal(1), bias.fill_normal(2), x.fill_normal(3), dy.fill_normal(4), dw.fill(0), db.fill(0);
    RecordedLt::the().calls.clear();
  }
  LinearBank<P> bank(bool with_bias) const {
    return {2, 24, 16, weight.view().data, with_bias ? bias.view().data : nullptr};
  }

  Guarded<float> weight, bias;
  Guarded<operand> x, y, dy;
  Guarded<float> dx, dw, db;
  std::vector<int64_t> offsets = {0, 4, 6};
};

class CublasLt : public testing::Test {
 protected:
  void SetUp() override {
    if (!RecordedLt::in_use) GTEST_SKIP() << "the stand-in is not in use";
  }
};

TEST_F(CublasLt, ForwardIsTheTransposedProductExpertByExpert) {
  Experts<Bf16> e;
  const LinearBank<Bf16> plain = e.bank(false), with_bias = e.bank(true);
  const auto forward = [&](const LinearBank<Bf16>& bank) {
    RecordedLt::the().calls.clear();
    test::run_as("cublaslt",
                 LinearForward<Bf16>{bank, std::as_const(e.x).view(), e.offsets, {.out_operand = e.y.view()}});
    return RecordedLt::the().calls;
  };
  // y^T [24, rows] = (W^T)^T x^T: W is to the library of 16 x 24, x of 16 x rows with 24 elements from row to row.
  EXPECT_EQ(forward(plain),
            (std::vector<LtCall>{{kCompute32F, kBf16, kBf16, true, false, 24, 4, 16, 16, 24, 24, 0.0f, kWorkspace},
                                 {kCompute32F, kBf16, kBf16, true, false, 24, 2, 16, 16, 24, 24, 0.0f, kWorkspace}}));
  // A bias is added in the result's type.
  EXPECT_EQ(
      forward(with_bias),
      (std::vector<LtCall>{{kCompute32F, kBf16, kBf16, true, false, 24, 4, 16, 16, 24, 24, 0.0f, kWorkspace, true},
                           {kCompute32F, kBf16, kBf16, true, false, 24, 2, 16, 16, 24, 24, 0.0f, kWorkspace, true}}));
}

TEST_F(CublasLt, AddsBiasAndResidualItself) {
  Experts<Bf16> e;
  const LinearBank<Bf16> bank = e.bank(true);
  Guarded<float> out(6, 24), residual(6, 24, {4, 0});
  Guarded<bf16> pre(6, 24);
  residual.fill_normal(5);
  const auto forward = [&](const ForwardEpilogue<Bf16>& epilogue) {
    RecordedLt::the().calls.clear();
    test::run_as("cublaslt", LinearForward<Bf16>{bank, std::as_const(e.x).view(), e.offsets, epilogue});
    return RecordedLt::the().calls[0];
  };
  const LtCall added{kCompute32F, kBf16, kF32, true, false, 24, 4, 16, 16, 24, 24, 1.0f, kWorkspace, true, true};
  EXPECT_EQ(forward({.out_real = out.view(), .residual = std::as_const(residual).view()}), added);
  cuda::lt_use(&RecordedLt::api());  // which forgets what it found
  RecordedLt::the().without_bias = true;
  EXPECT_FALSE(forward({.out_real = out.view(), .residual = std::as_const(residual).view()}).has_bias);
  RecordedLt::the().without_bias = false;
  cuda::lt_use(&RecordedLt::api());
  // Of what has dropout, or a factor beside a bias, it makes sums for a pass of our own.
  const LtCall sums{kCompute32F, kBf16, kF32, true, false, 24, 4, 16, 16, 24, 24, 0.0f, kWorkspace};
  EXPECT_EQ(forward({.out_real = out.view(), .dropout = {.probability = 0.1f}}), sums);
  EXPECT_EQ(forward({.out_real = out.view(), .dropout = {.multiplier = 0.5f}}), sums);
}

// An activation is a pass over sums that are rounded already, with their bias.
TEST_F(CublasLt, LeavesRoundedSumsToActivations) {
  Experts<Bf16> e;
  const LinearBank<Bf16> bank = e.bank(true);
  Guarded<bf16> pre(6, 24), out(6, 16), pre_of_x(6, 16);
  pre_of_x.fill_normal(6);
  const auto forward = [&] {
    RecordedLt::the().calls.clear();
    test::run_as("cublaslt",
                 LinearForward<Bf16>{
                     bank,
                     std::as_const(e.x).view(),
                     e.offsets,
                     {.out_operand = e.y.view(), .activation = Activation::kGeluErf, .pre_activation = pre.view()}});
    return RecordedLt::the().calls.at(0);
  };
  const auto backward = [&] {
    RecordedLt::the().calls.clear();
    test::run_as("cublaslt", LinearBackwardInput<Bf16>{bank,
                                                       std::as_const(e.dy).view(),
                                                       e.offsets,
                                                       {.out_operand = out.view(),
                                                        .activation = Activation::kGeluErf,
                                                        .pre_activation = std::as_const(pre_of_x).view()}});
    return RecordedLt::the().calls.at(0);
  };
  const LtCall rounded{kCompute32F, kBf16, kBf16, true, false, 24, 4, 16, 16, 24, 24, 0.0f, kWorkspace, true};
  const LtCall wide{kCompute32F, kBf16, kF32, true, false, 24, 4, 16, 16, 24, 24, 0.0f, kWorkspace};
  const LtCall gradient{kCompute32F, kBf16, kBf16, false, false, 16, 4, 24, 16, 24, 16, 0.0f, kWorkspace};
  EXPECT_EQ(forward(), rounded);
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t j = 0; j < 24; ++j) {
      const auto z = static_cast<double>(static_cast<float>(pre(i, j)));
      const double y = z * 0.5 * std::erfc(-z * std::sqrt(0.5));
      EXPECT_NEAR(static_cast<float>(e.y(i, j)), y, std::abs(y) * 0x1.02p-8 + 0x1p-120) << z;
    }
  EXPECT_EQ(backward(), gradient);
  cuda::lt_use(&RecordedLt::api());  // which forgets what it found
  RecordedLt::the().without_bias = true;
  EXPECT_EQ(forward(), wide);
  RecordedLt::the().without_bias = false;
  cuda::lt_use(&RecordedLt::api());
}

TEST_F(CublasLt, GradientsByInputAndWeight) {
  Experts<Bf16> e;
  const LinearBank<Bf16> bank = e.bank(true);
  test::run_as("cublaslt",
               LinearBackwardInput<Bf16>{bank, std::as_const(e.dy).view(), e.offsets, {.out_real = e.dx.view()}});
  test::run_as("cublaslt", LinearBackwardWeight<Bf16>{bank, std::as_const(e.dy).view(), std::as_const(e.x).view(),
                                                      e.offsets, e.dw.view().data, e.db.view().data});
  ASSERT_EQ(RecordedLt::the().calls.size(), 4u);
  EXPECT_EQ(RecordedLt::the().calls[0],
            (LtCall{kCompute32F, kBf16, kF32, false, false, 16, 4, 24, 16, 24, 16, 0.0f, kWorkspace}));
  EXPECT_EQ(RecordedLt::the().calls[2],  // added to dw
            (LtCall{kCompute32F, kBf16, kF32, false, true, 16, 24, 4, 24, 24, 16, 1.0f, kWorkspace}));
}

// Asked to, it sums up gradients of biases, too, which are then added; an expert without rows has none.
TEST_F(CublasLt, GradientsOfBiasesInTheProductOfWeights) {
  Experts<Bf16> e;
  const LinearBank<Bf16> bank = e.bank(true);
  const auto gradients = [&](std::vector<int64_t> offsets) {
    e.dw.fill(0.5), e.db.fill(0.25);
    RecordedLt::the().calls.clear();
    test::run_as("cublaslt", LinearBackwardWeight<Bf16>{bank, std::as_const(e.dy).view(), std::as_const(e.x).view(),
                                                        offsets, e.dw.view().data, e.db.view().data});
    return std::pair(test::widened(e.dw), test::widened(e.db));
  };
  for (const std::vector<int64_t>& offsets : {std::vector<int64_t>{0, 4, 6}, {0, 0, 6}, {0, 6, 6}}) {
    const auto alone = gradients(offsets);
    const test::Setting sums("TROUPE_CUDA_BIAS_SUMS", "1");
    EXPECT_EQ(gradients(offsets).first, alone.first);
    test::expect_close(e.db, alone.second, 8 * 0x1p-24, "in the product of weights");
    for (const LtCall& call : RecordedLt::the().calls) EXPECT_TRUE(call.sums_b);
    cuda::lt_use(&RecordedLt::api());  // which forgets what it found
    RecordedLt::the().without_bias = true;
    EXPECT_EQ(gradients(offsets), alone);
    for (const LtCall& call : RecordedLt::the().calls) EXPECT_FALSE(call.sums_b);
    RecordedLt::the().without_bias = false;
    cuda::lt_use(&RecordedLt::api());
  }
}

// The pass that takes a gradient through an activation sums it up for the bias, expert by expert: the same gradient, and
// the sums that the product for the gradient of weights would add.
TEST_F(CublasLt, SumsOfBiasesBesideTheDerivative) {
  const auto expect_sums = [](int64_t E, int64_t K, const std::vector<int64_t>& offsets, test::Layout of_pre) {
    constexpr int64_t kN = 24;
    const int64_t R = offsets.back();
    Guarded<float> weight(E * kN, K), db(E, K);
    Guarded<bf16> dy(R, kN), pre(R, K, of_pre), alone(R, K), out(R, K);
    weight.fill_normal(1), dy.fill_normal(2), pre.fill_normal(3), db.fill(0.25);
    const LinearBank<Bf16> bank(E, kN, K, weight.view().data, nullptr);
    for (const Activation activation : {Activation::kGeluErf, Activation::kRelu2}) {
      BiasSums<float> sums{db.view().data}, nobody_asks;
      const auto derive = [&](Guarded<bf16>& into, BiasSums<float>* bias_sums) {
        test::run_as("cublaslt", LinearBackwardInput<Bf16>{bank,
                                                           std::as_const(dy).view(),
                                                           offsets,
                                                           {.out_operand = into.view(),
                                                            .activation = activation,
                                                            .pre_activation = std::as_const(pre).view(),
                                                            .bias_sums = bias_sums}});
      };
      std::vector<double> expected = test::widened(db);
      derive(alone, &nobody_asks), derive(out, &sums);
      EXPECT_TRUE(test::equal_bits(alone, out)) << K;
      EXPECT_TRUE(sums.added && !nobody_asks.added);
      for (int64_t e = 0; e < E; ++e)
        for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
          for (int64_t k = 0; k < K; ++k) expected[e * K + k] += static_cast<double>(static_cast<float>(out(r, k)));
      test::expect_close(db, expected, 32 * 0x1p-24, fmt::format("{} experts, {} columns", E, K));
      out.expect_guards_intact("dz"), db.expect_guards_intact("db");
    }
  };
  expect_sums(1, 16, {0, 5}, {});
  expect_sums(1, 272, {0, 131}, {});         // tiles of 64 rows and 256 columns
  expect_sums(3, 264, {0, 65, 65, 200}, {});  // an expert without rows
  expect_sums(4, 16, {0, 8, 16, 24, 32}, {});
  expect_sums(2, 40, {0, 70, 71}, {3, 1});  // what it derives from starts anywhere
}

// 70 outputs are 128 to the library, whose rows of logits start at multiples of 16 bytes; the gradient of the weights
// has the 70 that there are, 64 of them first.
TEST_F(CublasLt, OutputLayersArePadded) {
  Guarded<float> embed(70, 16), nll(1, 6), dh(6, 16), dembed(70, 16);
  Guarded<bf16> h(6, 16);
  embed.fill_normal(1), h.fill_normal(2), dembed.fill(0);
  const LinearBank<Bf16> bank(1, 70, 16, embed.view().data, nullptr);
  const std::vector<int32_t> targets = {3, -1, 49, 0, 7, 20};
  RecordedLt::the().calls.clear();
  test::run_as("cuda", OutputLossWithGradient<Bf16>{bank, std::as_const(h).view(), targets,
                                                    std::span(nll.view().data, 6), dh.view(), dembed.view().data});
  EXPECT_EQ(RecordedLt::the().calls,
            (std::vector<LtCall>{{kCompute32F, kBf16, kF32, true, false, 128, 6, 16, 16, 16, 128, 0.0f, kWorkspace},
                                 {kCompute32F, kBf16, kF32, false, false, 16, 6, 128, 16, 256, 16, 0.0f, kWorkspace},
                                 {kCompute32F, kBf16, kF32, false, true, 16, 64, 6, 16, 256, 16, 1.0f, kWorkspace},
                                 {kCompute32F, kBf16, kF32, false, true, 16, 6, 6, 16, 256, 16, 1.0f, kWorkspace}}));
}

TEST_F(CublasLt, AnAlgorithmIsAskedForOnceAShapeAndAddsInAFixedOrder) {
  Experts<F32> e;
  const LinearBank<F32> bank = e.bank(false);
  const auto forward = [&] {
    test::run_as("cublaslt",
                 LinearForward<F32>{bank, std::as_const(e.x).view(), e.offsets, {.out_operand = e.y.view()}});
  };
  forward();
  const int asked = RecordedLt::the().heuristics;
  forward();
  EXPECT_EQ(RecordedLt::the().heuristics, asked);
  EXPECT_EQ(RecordedLt::the().calls[0].operands, kF32);
  auto& preference = RecordedLt::the().last_preference;
  EXPECT_EQ(preference[cuda::lt::kReductionSchemeMask], 2u);  // partial sums in float32, one after the other
  EXPECT_EQ(preference[cuda::lt::kMaxWorkspaceBytes], kWorkspace);
  EXPECT_EQ(preference[cuda::lt::kMinAlignmentA], 16u);
}

// Rows of experts are other ones with every batch.
TEST_F(CublasLt, AnAlgorithmOfExpertsServesUpToAnEighthMoreRows) {
  cuda::lt_use(&RecordedLt::api());  // which forgets what it found
  Guarded<float> weight(48, 16), dw(48, 16);
  Guarded<bf16> x(200, 16), y(200, 24), dy(200, 24);
  weight.fill_normal(1), x.fill_normal(2), dy.fill_normal(3), dw.fill(0);
  const LinearBank<Bf16> bank(2, 24, 16, weight.view().data, nullptr);
  const auto products = [&](int64_t rows_of_first, float* sums) {
    const std::vector<int64_t> offsets = {0, rows_of_first, 200};
    const int before = RecordedLt::the().heuristics;
    RecordedLt::the().calls.clear();
    test::run_as("cublaslt",
                 LinearForward<Bf16>{bank, std::as_const(x).view(), offsets, {.out_operand = y.view()}});
    test::run_as("cublaslt", LinearBackwardWeight<Bf16>{bank, std::as_const(dy).view(), std::as_const(x).view(),
                                                        offsets, sums, nullptr});
    EXPECT_EQ(RecordedLt::the().calls.at(0).n, rows_of_first);
    EXPECT_EQ(RecordedLt::the().calls.at(3).k, 200 - rows_of_first);
    return RecordedLt::the().heuristics - before;
  };
  EXPECT_EQ(products(97, dw.view().data), 2);  // 97 and 103 as 104
  EXPECT_EQ(products(103, dw.view().data), 0);
  EXPECT_EQ(products(100, dw.view().data), 0);
  EXPECT_EQ(products(105, dw.view().data), 4);  // as 112 and 96
  EXPECT_EQ(products(112, dw.view().data), 2);  // 88 as itself
  // What refuses another number of rows is asked again.
  RecordedLt::the().exacting = true;
  EXPECT_EQ(products(98, dw.view().data), 4);
  EXPECT_EQ(products(98, dw.view().data), 0);
  RecordedLt::the().exacting = false;
  cuda::lt_use(&RecordedLt::api());
}

TEST_F(CublasLt, RefusesWhatDoesNotStartAtMultiplesOf16Bytes) {
  Experts<Bf16> e;
  const LinearBank<Bf16> bank = e.bank(false);
  const auto refusal = [&](Matrix<const bf16> x) {
    return test::row_named<LinearForward<Bf16>>("cublaslt").refusal(
        LinearForward<Bf16>{bank, x, e.offsets, {.out_operand = e.y.view()}});
  };
  EXPECT_EQ(refusal(e.x.view()), "");
  Guarded<bf16> odd_start(6, 16, {8, 1}), odd_stride(6, 16, {3, 0});
  EXPECT_EQ(refusal(odd_start.view()), "cuBLASLt wants rows that start at multiples of 16 bytes");
  EXPECT_EQ(refusal(odd_stride.view()), "cuBLASLt wants rows that start at multiples of 16 bytes");
}

}  // namespace
}  // namespace troupe
