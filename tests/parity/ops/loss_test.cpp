// Every implementation of the output loss against the float64 reference, from the same (rounded) operands.
#include "ops/loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "parity.h"

namespace troupe {
namespace {

using test::Guarded;
using test::Layout;
using test::widened;

template <class P>
struct Problem {
  using operand = typename P::operand;

  Problem(int64_t T, int64_t V, int64_t D, Layout layout)
      : embed(V, D), h(T, D, layout), nll(1, T), dh(T, D, layout), dembed(V, D), argmax(static_cast<size_t>(T)) {
    embed.fill_normal(1), h.fill_normal(2);
    for (int64_t v = 0; v < V; ++v)  // weights that need no rounding: the reference in double sees the same ones
      for (int64_t d = 0; d < D; ++d) embed(v, d) = static_cast<float>(static_cast<operand>(embed(v, d)));
    for (int64_t t = 0; t < T; ++t) targets.push_back(static_cast<int32_t>(t % 4 == 3 ? -1 : t * 31 % V));
    bank = LinearBank<P>(1, V, D, embed.view().data, nullptr);
    bank.weights_changed();
  }
  std::span<float> nll_span() { return {nll.view().data, static_cast<size_t>(nll.cols())}; }
  void run(std::string_view row) {
    dh.fill(77), dembed.fill(0.5), nll.fill(77);
    test::run_as(row, OutputLossWithGradient<P>{bank, std::as_const(h).view(), targets, nll_span(), dh.view(),
                                                dembed.view().data});
  }

  Guarded<float> embed;
  Guarded<operand> h;
  Guarded<float> nll, dh, dembed;
  std::vector<int32_t> targets, argmax;
  LinearBank<P> bank;
};

// With another model as teacher, its divergence too: tokens that are not scored have none.
template <class P>
struct TaughtProblem : Problem<P> {
  using operand = typename P::operand;

  TaughtProblem(int64_t T, int64_t V, int64_t D) : Problem<P>(T, V, D, {}), taught_embed(V, D + 1), taught_h(T, D + 1) {
    taught_embed.fill_normal(3), taught_h.fill_normal(4);
    for (int64_t v = 0; v < V; ++v)
      for (int64_t d = 0; d <= D; ++d)
        taught_embed(v, d) = static_cast<float>(static_cast<operand>(taught_embed(v, d)));
    taught_bank = LinearBank<P>(1, V, D + 1, taught_embed.view().data, nullptr);
    taught_bank.weights_changed();
  }

  Guarded<float> taught_embed;
  Guarded<operand> taught_h;
  LinearBank<P> taught_bank;
};

template <class P>
class LossParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(LossParity, Precisions);

TYPED_TEST(LossParity, EveryImplementationMatchesTheReference) {
  using P = TypeParam;
  struct Case {
    int64_t T, V, D;
    Layout layout;
  };
  for (const Case& c : {Case{0, 5, 3, {}},
                        {1, 1, 1, {}},
                        {3, 7, 5, {2, 1}},
                        {65, 129, 40, {}},
                        {33, 2049, 16, {0, 3}},
                        {4, 17001, 8, {}},
                        {700, 300, 24, {}}}) {
    Problem<P> fast(c.T, c.V, c.D, c.layout);
    const auto embed = widened(fast.embed), h = widened(fast.h);
    std::vector<double> nll(c.T), dh(c.T * c.D), dembed(c.V * c.D, 0.5);
    std::vector<int32_t> argmax(c.T);
    const LinearBank<F64> bank(1, c.V, c.D, embed.data(), nullptr);
    run(OutputLoss<F64>{bank, {h.data(), c.T, c.D}, fast.targets, nll, argmax});
    run(OutputLossWithGradient<F64>{
        bank, {h.data(), c.T, c.D}, fast.targets, nll, {dh.data(), c.T, c.D}, dembed.data()});
    for (const std::string_view row : test::usable<OutputLoss<P>>()) {
      const std::string what = fmt::format("{} T {} V {} D {}", row, c.T, c.V, c.D);
      // Logits of up to 4 sqrt(D) in float32; gradients of logits rounded to the operand type.
      const double tolerance = 64 * 0x1p-24 * std::max(1.0, static_cast<double>(c.V) / 2048);
      const double rounded = std::is_same_v<P, Bf16> ? 0x1p-7 : tolerance;
      fast.run(row);
      test::expect_close(fast.nll, nll, tolerance, what + " nll");
      test::expect_close(fast.dh, dh, rounded, what + " dh");
      test::expect_close(fast.dembed, dembed, rounded, what + " dembed");
      fast.dh.expect_guards_intact(what), fast.dembed.expect_guards_intact(what), fast.nll.expect_guards_intact(what);
      const auto with_gradient = widened(fast.nll);
      test::run_as(row,
                   OutputLoss<P>{fast.bank, std::as_const(fast.h).view(), fast.targets, fast.nll_span(), fast.argmax});
      test::expect_close(fast.nll, nll, tolerance, what + " nll without gradient");
      EXPECT_EQ(fast.argmax, argmax) << what;
    }
  }
}

TYPED_TEST(LossParity, CapAndPenaltyMatchTheReference) {
  using P = TypeParam;
  constexpr int64_t T = 70, V = 301, D = 24;
  for (const auto& [cap, z_loss] : {std::pair{4.0, 0.0}, {0.0, 0.01}, {4.0, 0.01}}) {
    Problem<P> fast(T, V, D, {});
    const auto embed = widened(fast.embed), h = widened(fast.h);
    std::vector<double> nll(T), dh(T * D), dembed(V * D, 0.5);
    std::vector<int32_t> argmax(T);
    double squared_lse = 0.0, got = 0.0;
    const LinearBank<F64> bank(1, V, D, embed.data(), nullptr);
    run(OutputLoss<F64>{bank, {h.data(), T, D}, fast.targets, nll, argmax, 1.0, cap});
    run(OutputLossWithGradient<F64>{
        bank, {h.data(), T, D}, fast.targets, nll, {dh.data(), T, D}, dembed.data(), 1.0, cap, z_loss, &squared_lse});
    for (const std::string_view row : test::usable<OutputLoss<P>>()) {
      const std::string what = fmt::format("{} cap {} z {}", row, cap, z_loss);
      const double tolerance = 64 * 0x1p-24, rounded = std::is_same_v<P, Bf16> ? 0x1p-7 : tolerance;
      fast.dh.fill(77), fast.dembed.fill(0.5), fast.nll.fill(77);
      test::run_as(row,
                   OutputLossWithGradient<P>{fast.bank, std::as_const(fast.h).view(), fast.targets, fast.nll_span(),
                                             fast.dh.view(), fast.dembed.view().data, 1.0, cap, z_loss, &got});
      test::expect_close(fast.nll, nll, tolerance, what + " nll");
      test::expect_close(fast.dh, dh, rounded, what + " dh");
      test::expect_close(fast.dembed, dembed, rounded, what + " dembed");
      EXPECT_NEAR(got, squared_lse, 1e-6 * squared_lse) << what;
      test::run_as(row, OutputLoss<P>{fast.bank, std::as_const(fast.h).view(), fast.targets, fast.nll_span(),
                                      fast.argmax, 1.0, cap});
      test::expect_close(fast.nll, nll, tolerance, what + " nll without gradient");
      EXPECT_EQ(fast.argmax, argmax) << what;
    }
  }
}

// The bias stands in the bank; its gradient is that of every column of logits.
TYPED_TEST(LossParity, ABiasMatchesTheReference) {
  using P = TypeParam;
  constexpr int64_t D = 24;
  for (const auto& [T, V] : {std::pair{int64_t{70}, int64_t{301}}, {33, 64}}) {
    Problem<P> fast(T, V, D, {});
    Guarded<float> b(1, V), db(1, V);
    b.fill_normal(5, 3.0);
    fast.bank = LinearBank<P>(1, V, D, fast.embed.view().data, b.view().data);
    fast.bank.weights_changed();
    const auto embed = widened(fast.embed), h = widened(fast.h), bias = widened(b);
    std::vector<double> nll(T), dh(T * D), dembed(V * D, 0.5), dbias(V, 0.25);
    std::vector<int32_t> argmax(T);
    const LinearBank<F64> bank(1, V, D, embed.data(), bias.data());
    run(OutputLoss<F64>{bank, {h.data(), T, D}, fast.targets, nll, argmax, 2.0});
    run(OutputLossWithGradient<F64>{.embed = bank,
                                    .h_TD = {h.data(), T, D},
                                    .targets_T = fast.targets,
                                    .nll_T = nll,
                                    .dh_TD = {dh.data(), T, D},
                                    .dembed_VD = dembed.data(),
                                    .divisor = 2.0,
                                    .dbias_V = dbias.data()});
    for (const std::string_view row : test::usable<OutputLoss<P>>()) {
      const std::string what = fmt::format("{} V {}", row, V);
      const double tolerance = 64 * 0x1p-24, rounded = std::is_same_v<P, Bf16> ? 0x1p-7 : tolerance;
      fast.dh.fill(77), fast.dembed.fill(0.5), fast.nll.fill(77), db.fill(0.25);
      test::run_as(row, OutputLossWithGradient<P>{.embed = fast.bank,
                                                  .h_TD = std::as_const(fast.h).view(),
                                                  .targets_T = fast.targets,
                                                  .nll_T = fast.nll_span(),
                                                  .dh_TD = fast.dh.view(),
                                                  .dembed_VD = fast.dembed.view().data,
                                                  .divisor = 2.0,
                                                  .dbias_V = db.view().data});
      test::expect_close(fast.nll, nll, tolerance, what + " nll");
      test::expect_close(fast.dh, dh, rounded, what + " dh");
      test::expect_close(fast.dembed, dembed, rounded, what + " dembed");
      test::expect_close(db, dbias, rounded, what + " dbias");
      db.expect_guards_intact(what);
      test::run_as(
          row, OutputLoss<P>{fast.bank, std::as_const(fast.h).view(), fast.targets, fast.nll_span(), fast.argmax, 2.0});
      test::expect_close(fast.nll, nll, tolerance, what + " nll without gradient");
      EXPECT_EQ(fast.argmax, argmax) << what;
    }
  }
}

TYPED_TEST(LossParity, ATeacherMatchesTheReference) {
  using P = TypeParam;
  constexpr int64_t T = 70, V = 301, D = 24;
  struct Case {
    double alpha, temperature, cap;
  };
  for (const Case& c : {Case{0.5, 1.0, 0.0}, {1.0, 3.0, 0.0}, {0.3, 2.0, 4.0}}) {
    TaughtProblem<P> fast(T, V, D);
    const auto embed = widened(fast.embed), h = widened(fast.h);
    const auto taught_embed = widened(fast.taught_embed), taught_h = widened(fast.taught_h);
    std::vector<double> nll(T), dh(T * D), dembed(V * D, 0.5);
    double divergence = 0.0, got = 0.0;
    const LinearBank<F64> bank(1, V, D, embed.data(), nullptr), taught(1, V, D + 1, taught_embed.data(), nullptr);
    run(OutputLossWithGradient<F64>{.embed = bank,
                                    .h_TD = {h.data(), T, D},
                                    .targets_T = fast.targets,
                                    .nll_T = nll,
                                    .dh_TD = {dh.data(), T, D},
                                    .dembed_VD = dembed.data(),
                                    .cap = c.cap,
                                    .teacher = {&taught, {taught_h.data(), T, D + 1}, 1.0, c.cap, c.alpha,
                                                c.temperature, &divergence}});
    for (const std::string_view row : test::usable<OutputLoss<P>>()) {
      if (row == "cuda") continue;  // has none
      const std::string what = fmt::format("{} alpha {} temperature {} cap {}", row, c.alpha, c.temperature, c.cap);
      const double tolerance = 64 * 0x1p-24, rounded = std::is_same_v<P, Bf16> ? 0x1p-7 : tolerance;
      fast.dh.fill(77), fast.dembed.fill(0.5), fast.nll.fill(77);
      test::run_as(row, OutputLossWithGradient<P>{.embed = fast.bank,
                                                  .h_TD = std::as_const(fast.h).view(),
                                                  .targets_T = fast.targets,
                                                  .nll_T = fast.nll_span(),
                                                  .dh_TD = fast.dh.view(),
                                                  .dembed_VD = fast.dembed.view().data,
                                                  .cap = c.cap,
                                                  .teacher = {&fast.taught_bank, std::as_const(fast.taught_h).view(),
                                                              1.0, c.cap, c.alpha, c.temperature, &got}});
      test::expect_close(fast.nll, nll, tolerance, what + " nll");
      test::expect_close(fast.dh, dh, rounded, what + " dh");
      test::expect_close(fast.dembed, dembed, rounded, what + " dembed");
      EXPECT_NEAR(got, divergence, 1e-5 * divergence) << what;
    }
  }
}

TEST(SoftCapParity, EveryImplementationMatchesTheReference) {
  for (const std::string_view row : test::usable<SoftCap<float>>()) {
    Guarded<float> logits(5, 33, {3, 1});
    logits.fill_normal(1, 10.0);
    logits(1, 2) = 1e30f, logits(3, 32) = -HUGE_VALF;
    auto expected = widened(logits);
    run(SoftCap<double>{7.0, {expected.data(), 5, 33}});
    test::run_as(row, SoftCap<float>{7.0, logits.view()});
    test::expect_close(logits, expected, 4 * 0x1p-24, std::string(row));
    logits.expect_guards_intact(std::string(row));
    EXPECT_EQ(logits(1, 2), 7.0f);
    EXPECT_EQ(logits(3, 32), -7.0f);
  }
}

TYPED_TEST(LossParity, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<OutputLoss<P>>()) {
    std::unique_ptr<Problem<P>> first;
    test::with_threads({1, 2, 3}, [&](int count) {
      auto problem = std::make_unique<Problem<P>>(150, 513, 48, Layout{});
      problem->run(row);
      if (!first) return void(first = std::move(problem));
      EXPECT_TRUE(test::equal_bits(first->nll, problem->nll)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dh, problem->dh)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dembed, problem->dembed)) << row << ", " << count << " threads";
    });
  }
}

TYPED_TEST(LossParity, LargeLogitsNeitherOverflowNorLoseTheirLoss) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<OutputLoss<P>>()) {
    Problem<P> problem(2, 40, 1, {});
    problem.embed.fill(0), problem.h.fill(1);
    problem.embed(7, 0) = 1024.0f, problem.embed(9, 0) = 960.0f;
    problem.bank.weights_changed();
    problem.targets = {7, 9};
    problem.run(row);
    EXPECT_EQ(problem.nll(0, 0), 0.0f) << row;
    EXPECT_EQ(problem.nll(0, 1), 64.0f) << row;
    EXPECT_EQ(problem.dembed(7, 0), 1.5f) << row;  // 0.5 + (1 - 1) + (1 - 0)
  }
}

TYPED_TEST(LossParity, NanReachesItsTokenAlone) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<OutputLoss<P>>()) {
    Problem<P> problem(3, 40, 4, {});
    problem.h(1, 2) = static_cast<typename P::operand>(std::nanf(""));
    problem.run(row);
    for (int64_t t = 0; t < 3; ++t) EXPECT_EQ(std::isnan(problem.nll(0, t)), t == 1) << row << " " << t;
  }
}

TYPED_TEST(LossParity, TiesGoToTheLowestId) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<OutputLoss<P>>()) {
    Problem<P> problem(1, 100, 1, {});
    problem.embed.fill(0), problem.h.fill(1);
    problem.embed(37, 0) = problem.embed(38, 0) = problem.embed(99, 0) = 2.0f;
    problem.bank.weights_changed();
    test::run_as(row, OutputLoss<P>{problem.bank, std::as_const(problem.h).view(), problem.targets, problem.nll_span(),
                                    problem.argmax});
    EXPECT_EQ(problem.argmax[0], 37) << row;
  }
}

}  // namespace
}  // namespace troupe
