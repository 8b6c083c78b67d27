// Every implementation of RMSNorm, the gated network, rotary positions, shared experts and sums of rows against the float64 reference.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "ops/elementwise.h"
#include "ops/gate.h"
#include "ops/moe_rows.h"
#include "ops/rms_norm.h"
#include "ops/rotary.h"
#include "parity.h"
#include "rounded_case.h"

namespace troupe {
namespace {

using test::expect_close;
using test::Guarded;
using test::Layout;
using test::widened;

struct Shape2 {
  int64_t rows, cols;
  Layout layout;
};
const Shape2 kShapes[] = {{0, 5, {}},  {1, 1, {}},   {3, 15, {2, 1}},   {2, 16, {}},  {5, 17, {0, 3}},
                          {63, 64, {}}, {64, 33, {}}, {65, 768, {4, 5}}, {130, 40, {}}};

template <class T>
std::span<T> flat(Guarded<T>& m) {
  return {m.view().data, static_cast<size_t>(m.cols())};
}
template <class P>
constexpr double kOneRounding = std::is_same_v<P, Bf16> ? 0x1p-8 : 16 * 0x1p-24;

template <class P>
class DecoderOps : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(DecoderOps, Precisions);

TYPED_TEST(DecoderOps, RmsNormMatchesTheReference) {
  using P = TypeParam;
  for (const auto& [T, D, layout] : kShapes) {
    Guarded<float> x(T, D, layout), gamma(1, D), dy(T, D, layout);
    x.fill_normal(1, 3.0), gamma.fill_normal(2), dy.fill_normal(3);
    const auto x64 = widened(x), gamma64 = widened(gamma), dy64 = widened(dy);
    std::vector<double> y64(T * D), rstd64(T), dx64(T * D, 0.5), dgamma64(D, 0.25);
    run(RmsNormForward<F64>{{x64.data(), T, D}, gamma64, 1e-6, {y64.data(), T, D}, {}, rstd64});
    run(RmsNormBackward<F64>{{x64.data(), T, D}, gamma64, rstd64, {dy64.data(), T, D}, {dx64.data(), T, D}, dgamma64});
    for (const std::string_view row : test::usable<RmsNormForward<P>>()) {
      const std::string what = fmt::format("{} T {} D {}", row, T, D);
      Guarded<typename P::operand> y(T, D, layout);
      Guarded<float> y_real(T, D, layout), rstd(1, T), dx(T, D, layout), dgamma(1, D);
      dx.fill(0.5), dgamma.fill(0.25);
      test::run_as(row, RmsNormForward<P>{std::as_const(x).view(), flat(gamma), 1e-6, y.view(), y_real.view(),
                                          flat(rstd)});
      test::run_as(row, RmsNormBackward<P>{std::as_const(x).view(), flat(gamma), flat(rstd), std::as_const(dy).view(),
                                           dx.view(), flat(dgamma)});
      expect_close(y, y64, kOneRounding<P>, what + " y");
      expect_close(y_real, y64, 16 * 0x1p-24, what + " y_real");
      expect_close(rstd, rstd64, 16 * 0x1p-24, what + " rstd");
      expect_close(dx, dx64, 64 * 0x1p-24, what + " dx");
      expect_close(dgamma, dgamma64, 64 * 0x1p-24, what + " dgamma");
      for (auto* guarded : {&y_real, &rstd, &dx, &dgamma}) guarded->expect_guards_intact(what);
      y.expect_guards_intact(what);
      for (const Dropout& dropout : test::kRoundedDropouts) {
        test::RoundedCase<P> rounded(T, D, {2, 1}, dropout);
        Guarded<float> dx_too(T, D, layout);
        dx_too.fill(0.5);
        test::run_as(row, RmsNormBackward<P>{std::as_const(x).view(), flat(gamma), flat(rstd),
                                             std::as_const(dy).view(), dx_too.view(), {}, &rounded.asked});
        EXPECT_TRUE(test::equal_bits(dx, dx_too)) << what;
        rounded.expect_of(dx, what);
      }
    }
  }
}

TYPED_TEST(DecoderOps, HeadNormMatchesTheReference) {
  using P = TypeParam;
  using operand = typename P::operand;
  for (const auto& [T, C, layout] : kShapes)
    for (const int64_t N : {1, 3}) {
      if (C == 1) continue;  // then x / |x| has no gradient, but for epsilon
      Guarded<operand> x(T, N * C, layout), dy(T, N * C, layout);
      Guarded<float> gamma(1, C);
      x.fill_normal(1), gamma.fill_normal(2), dy.fill_normal(3);
      const auto x64 = widened(x), gamma64 = widened(gamma);
      std::vector<double> y64(T * N * C), rstd64(T * N), dx64 = widened(dy), dgamma64(C, 0.25);
      run(HeadNormForward<F64>{{x64.data(), T, N * C}, gamma64, 1e-6, {y64.data(), T, N * C}, rstd64});
      run(HeadNormBackward<F64>{{x64.data(), T, N * C}, gamma64, rstd64, {dx64.data(), T, N * C}, dgamma64});
      for (const std::string_view row : test::usable<HeadNormForward<P>>()) {
        const std::string what = fmt::format("{} T {} N {} C {}", row, T, N, C);
        Guarded<operand> y(T, N * C, layout), dx(T, N * C, layout);
        Guarded<float> rstd(1, T * N), dgamma(1, C);
        dgamma.fill(0.25);
        for (int64_t t = 0; t < T; ++t)
          for (int64_t c = 0; c < N * C; ++c) dx(t, c) = dy(t, c);
        test::run_as(row, HeadNormForward<P>{std::as_const(x).view(), flat(gamma), 1e-6, y.view(), flat(rstd)});
        test::run_as(row, HeadNormBackward<P>{std::as_const(x).view(), flat(gamma), flat(rstd), dx.view(),
                                              flat(dgamma)});
        expect_close(y, y64, kOneRounding<P>, what + " y");
        expect_close(rstd, rstd64, 16 * 0x1p-24, what + " rstd");
        expect_close(dx, dx64, 4 * kOneRounding<P>, what + " dx");
        expect_close(dgamma, dgamma64, 64 * 0x1p-24, what + " dgamma");
        for (auto* guarded : {&y, &dx}) guarded->expect_guards_intact(what);
        for (auto* guarded : {&rstd, &dgamma}) guarded->expect_guards_intact(what);
      }
    }
}

TYPED_TEST(DecoderOps, GateMatchesTheReference) {
  using P = TypeParam;
  using operand = typename P::operand;
  for (const auto& [R, F, layout] : kShapes)
    for (const Activation kind : {Activation::kNone, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
                                  Activation::kSilu, Activation::kRelu2}) {
      Guarded<operand> z(R, 2 * F, layout), dhidden(R, F, layout);
      z.fill_normal(1, 4.0), dhidden.fill_normal(2);
      if (R > 0) z(0, 0) = operand(-120.0f), z(R - 1, F - 1) = operand(100.0f);  // exp of these overflows
      const auto z64 = widened(z), dhidden64 = widened(dhidden);
      std::vector<double> hidden64(R * F), dz64(R * 2 * F);
      run(GateForward<F64>{kind, {z64.data(), R, 2 * F}, {hidden64.data(), R, F}});
      run(GateBackward<F64>{kind, {z64.data(), R, 2 * F}, {dhidden64.data(), R, F}, {dz64.data(), R, 2 * F}});
      for (const std::string_view row : test::usable<GateForward<P>>()) {
        const std::string what = fmt::format("{} {} R {} F {}", row, static_cast<int>(kind), R, F);
        Guarded<operand> hidden(R, F, layout), dz(R, 2 * F, layout);
        test::run_as(row, GateForward<P>{kind, std::as_const(z).view(), hidden.view()});
        test::run_as(row, GateBackward<P>{kind, std::as_const(z).view(), std::as_const(dhidden).view(), dz.view()});
        expect_close(hidden, hidden64, kOneRounding<P>, what + " hidden");
        expect_close(dz, dz64, std::max(kOneRounding<P>, 64 * 0x1p-24), what + " dz");  // 1 + tanh cancels
        hidden.expect_guards_intact(what), dz.expect_guards_intact(what);
      }
    }
}

TYPED_TEST(DecoderOps, RotaryMatchesTheReference) {
  using P = TypeParam;
  using operand = typename P::operand;
  constexpr int64_t N = 3, kPositions = 12;
  for (const int64_t C : {2, 15, 16, 34, 64, 128})
    for (const int64_t R : {int64_t{2}, C / 4 * 2, C / 2 * 2})
      for (const bool backward : {false, true}) {
        if (R < 2) continue;
        const int64_t T = 70;
        std::vector<int32_t> positions;
        for (int64_t t = 0; t < T; ++t) positions.push_back(static_cast<int32_t>(t * 5 % kPositions));
        Guarded<operand> x(T, N * C, {2, 1});
        Guarded<float> table(kPositions, R);
        x.fill_normal(1), table.fill_normal(2);
        std::vector<double> x64 = widened(x);
        const auto table64 = widened(table);
        run(Rotary<F64>{{x64.data(), T, N * C}, C, positions, {table64.data(), kPositions, R}, backward});
        for (const std::string_view row : test::usable<Rotary<P>>()) {
          const std::string what = fmt::format("{} C {} R {}", row, C, R);
          Guarded<operand> turned(T, N * C, {2, 1});
          for (int64_t t = 0; t < T; ++t)
            for (int64_t c = 0; c < N * C; ++c) turned(t, c) = x(t, c);
          test::run_as(row, Rotary<P>{turned.view(), C, positions, std::as_const(table).view(), backward});
          expect_close(turned, x64, kOneRounding<P>, what);
          turned.expect_guards_intact(what);
        }
      }
}

TYPED_TEST(DecoderOps, SharedRowsMatchTheReference) {
  using P = TypeParam;
  for (const auto& [T, D, layout] : kShapes)
    for (const float probability : {0.0f, 0.4f})
      for (const bool gated : {false, true}) {
        const Dropout dropout{.probability = probability, .key = 3, .first_row = 2, .multiplier = 0.5f};
        Guarded<float> y(T, D, layout), gate(T, 1), dout(T, D, layout);
        y.fill_normal(1), gate.fill_normal(2, 3.0), dout.fill_normal(3);
        const auto y64 = widened(y), gate64 = widened(gate), dout64 = widened(dout);
        std::vector<double> out64(T * D, 0.5), dy64(T * D), dgate64(T);
        const Matrix<const double> gates64 = gated ? Matrix<const double>(gate64.data(), T, 1) : Matrix<const double>();
        const Matrix<const float> gates = gated ? std::as_const(gate).view() : Matrix<const float>();
        run(SharedRows<F64>{{y64.data(), T, D}, gates64, dropout, {out64.data(), T, D}});
        run(SharedRowsBackward<F64>{{dout64.data(), T, D}, {y64.data(), T, D}, gates64, dropout, {dy64.data(), T, D},
                                    gated ? Matrix<double>(dgate64.data(), T, 1) : Matrix<double>()});
        for (const std::string_view row : test::usable<SharedRows<P>>()) {
          const std::string what = fmt::format("{} T {} D {} gated {}", row, T, D, gated);
          Guarded<float> out(T, D, layout), dgate(T, 1);
          Guarded<typename P::operand> dy(T, D, layout);
          out.fill(0.5), dgate.fill(0);
          test::run_as(row, SharedRows<P>{std::as_const(y).view(), gates, dropout, out.view()});
          test::run_as(row, SharedRowsBackward<P>{std::as_const(dout).view(), std::as_const(y).view(), gates, dropout,
                                                  dy.view(), gated ? dgate.view() : Matrix<float>()});
          expect_close(out, out64, 16 * 0x1p-24, what + " out");
          expect_close(dy, dy64, kOneRounding<P>, what + " dy");
          expect_close(dgate, dgate64, 64 * 0x1p-24, what + " dgate");
          out.expect_guards_intact(what), dy.expect_guards_intact(what), dgate.expect_guards_intact(what);
        }
      }
}

TEST(AddParity, EveryImplementationEqualsTheReference) {
  for (const auto& [T, D, layout] : kShapes) {
    Guarded<float> a(T, D, layout), b(T, D), expected(T, D);
    a.fill_normal(1), b.fill_normal(2);
    test::run_as("ref", Add<float>{std::as_const(a).view(), std::as_const(b).view(), expected.view()});
    for (int64_t t = 0; t < T; ++t) EXPECT_EQ(expected(t, D - 1), a(t, D - 1) + b(t, D - 1));
    for (const std::string_view row : test::usable<Add<float>>()) {
      Guarded<float> out(T, D, layout);
      test::run_as(row, Add<float>{std::as_const(a).view(), std::as_const(b).view(), out.view()});
      EXPECT_TRUE(test::equal_bits(expected, out)) << row;
      out.expect_guards_intact(std::string(row));
    }
  }
}

TYPED_TEST(DecoderOps, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  constexpr int64_t T = 333, D = 65;
  Guarded<float> x(T, D), gamma(1, D), dy(T, D);
  x.fill_normal(1), gamma.fill_normal(2), dy.fill_normal(3);
  std::vector<std::vector<double>> sums;
  test::with_threads({1, 2, 3}, [&](int count) {
    Guarded<typename P::operand> y(T, D);
    Guarded<float> rstd(1, T), dx(T, D), dgamma(1, D);
    dx.fill(0), dgamma.fill(0);
    run(RmsNormForward<P>{std::as_const(x).view(), flat(gamma), 1e-6, y.view(), {}, flat(rstd)});
    run(RmsNormBackward<P>{std::as_const(x).view(), flat(gamma), flat(rstd), std::as_const(dy).view(), dx.view(),
                           flat(dgamma)});
    sums.push_back(widened(dgamma));
    EXPECT_EQ(sums.front(), sums.back()) << count << " threads";
  });
}

}  // namespace
}  // namespace troupe
