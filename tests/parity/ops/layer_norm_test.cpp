// Every implementation of layer norm against the float64 reference.
#include "ops/layer_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "parity.h"
#include "rounded_case.h"

namespace troupe {
namespace {

using test::expect_close;
using test::Guarded;
using test::Layout;
using test::widened;

template <class P>
struct LayerNorm {
  using operand = typename P::operand;

  LayerNorm(int64_t T, int64_t D, Layout layout)
      : x(T, D, layout),
        gamma(1, D),
        beta(1, D),
        y(T, D, layout),
        y_real(T, D, layout),
        mean(1, T),
        rstd(1, T),
        dy(T, D, layout),
        dx(T, D, layout),
        dgamma(1, D),
        dbeta(1, D) {
    x.fill_normal(1, 3.0);
    for (int64_t t = 0; t < T; ++t)
      for (int64_t d = 0; d < D; ++d) x(t, d) += 5.0f;  // a mean that a one-pass variance would suffer from
    gamma.fill_normal(2), beta.fill_normal(3), dy.fill_normal(4);
  }
  template <class T>
  static std::span<T> flat(Guarded<T>& m) {
    return {m.view().data, static_cast<size_t>(m.cols())};
  }
  void run(std::string_view row, RoundedGradient<P>* rounded = nullptr) {
    y.fill(9), y_real.fill(9), mean.fill(9), rstd.fill(9);
    dx.fill(0.5), dgamma.fill(0.25), dbeta.fill(0.125);
    test::run_as(row, LayerNormForward<P>{std::as_const(x).view(), flat(gamma), flat(beta), kLayerNormEpsilon, y.view(),
                                          y_real.view(), flat(mean), flat(rstd)});
    test::run_as(row, LayerNormBackward<P>{std::as_const(x).view(), flat(gamma), flat(mean), flat(rstd),
                                           std::as_const(dy).view(), dx.view(), flat(dgamma), flat(dbeta), rounded});
  }
  void expect_guards_intact(const std::string& what) {
    y.expect_guards_intact(what), y_real.expect_guards_intact(what), dx.expect_guards_intact(what);
    mean.expect_guards_intact(what), rstd.expect_guards_intact(what);
    dgamma.expect_guards_intact(what), dbeta.expect_guards_intact(what);
  }

  Guarded<float> x, gamma, beta;
  Guarded<operand> y;
  Guarded<float> y_real, mean, rstd, dy, dx, dgamma, dbeta;
};

template <class P>
class LayerNormParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(LayerNormParity, Precisions);

TYPED_TEST(LayerNormParity, EveryImplementationMatchesTheReference) {
  using P = TypeParam;
  struct Case {
    int64_t T, D;
    Layout layout;
  };
  for (const Case& c : {Case{0, 5, {}},
                        {1, 1, {}},
                        {3, 15, {2, 1}},
                        {2, 16, {}},
                        {5, 17, {0, 3}},
                        {63, 64, {}},
                        {64, 33, {}},
                        {65, 768, {4, 5}},
                        {130, 40, {}},
                        {33, 1025, {}},  // wider than what a GPU's thread has of one row, two, four ...
                        {2, 2050, {1, 3}},
                        {3, 4099, {}}}) {
    LayerNorm<P> fast(c.T, c.D, c.layout);
    const auto x = widened(fast.x), gamma = widened(fast.gamma), beta = widened(fast.beta), dy = widened(fast.dy);
    std::vector<double> y(c.T * c.D), mean(c.T), rstd(c.T), dx(c.T * c.D, 0.5), dgamma(c.D, 0.25), dbeta(c.D, 0.125);
    run(LayerNormForward<F64>{
        {x.data(), c.T, c.D}, gamma, beta, kLayerNormEpsilon, {y.data(), c.T, c.D}, {}, mean, rstd});
    run(LayerNormBackward<F64>{
        {x.data(), c.T, c.D}, gamma, mean, rstd, {dy.data(), c.T, c.D}, {dx.data(), c.T, c.D}, dgamma, dbeta});
    for (const std::string_view row : test::usable<LayerNormForward<P>>()) {
      const std::string what = fmt::format("{} T {} D {}", row, c.T, c.D);
      fast.run(row);
      // float32 sums of D or T terms; means of 5 against deviations of 3 lose a bit or two.
      const double tolerance = 16 * 0x1p-24 * std::max(1.0, static_cast<double>(c.D) / 256);
      expect_close(fast.y_real, y, tolerance, what + " y_real");
      expect_close(fast.y, y, std::is_same_v<P, Bf16> ? 0x1p-8 : tolerance, what + " y");
      expect_close(fast.mean, mean, tolerance, what + " mean");
      expect_close(fast.rstd, rstd, tolerance, what + " rstd");
      expect_close(fast.dx, dx, 4 * tolerance, what + " dx");
      expect_close(fast.dgamma, dgamma, 4 * tolerance, what + " dgamma");
      expect_close(fast.dbeta, dbeta, 4 * tolerance, what + " dbeta");
      fast.expect_guards_intact(what);
    }
  }
}

TYPED_TEST(LayerNormParity, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<LayerNormForward<P>>()) {
    std::unique_ptr<LayerNorm<P>> first;
    test::with_threads({1, 2, 3}, [&](int count) {
      auto norm = std::make_unique<LayerNorm<P>>(333, 65, Layout{});
      norm->run(row);
      if (!first) return void(first = std::move(norm));
      EXPECT_TRUE(test::equal_bits(first->y, norm->y)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dx, norm->dx)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dgamma, norm->dgamma)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dbeta, norm->dbeta)) << row << ", " << count << " threads";
    });
  }
}

TYPED_TEST(LayerNormParity, NanStaysInItsRow) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<LayerNormForward<P>>()) {
    LayerNorm<P> norm(3, 20, {});
    norm.x(1, 19) = std::nanf("");
    norm.run(row);
    for (int64_t t = 0; t < 3; ++t)
      for (int64_t d = 0; d < 20; ++d)
        EXPECT_EQ(std::isnan(static_cast<float>(norm.y(t, d))), t == 1) << row << " " << t << " " << d;
  }
}

TYPED_TEST(LayerNormParity, OutputsMayBeLeftOut) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<LayerNormForward<P>>()) {
    LayerNorm<P> norm(3, 20, {});
    norm.run(row);
    Guarded<float> y_real(3, 20);
    test::run_as(row, LayerNormForward<P>{.x_TD = std::as_const(norm.x).view(),
                                          .gamma_D = norm.flat(norm.gamma),
                                          .beta_D = norm.flat(norm.beta),
                                          .y_real_TD = y_real.view()});
    EXPECT_TRUE(test::equal_bits(norm.y_real, y_real)) << row;
  }
}

// The gradient is the same, and what products read of it is beside it; a GPU sums that up, where no mask is on it.
TYPED_TEST(LayerNormParity, LeavesTheGradientAsProductsReadIt) {
  using P = TypeParam;
  for (const auto& [T, D] : {std::pair<int64_t, int64_t>{0, 5}, {3, 15}, {67, 768}, {33, 1026}, {3, 2050}, {2, 4100}})
    for (const Dropout& dropout : test::kRoundedDropouts)
      for (const std::string_view row : test::usable<LayerNormBackward<P>>()) {
        const std::string what = fmt::format("{} T {} D {} p {}", row, T, D, dropout.probability);
        LayerNorm<P> alone(T, D, {}), with(T, D, {1, 3});
        test::RoundedCase<P> rounded(T, D, {2, 1}, dropout);
        alone.run(row), with.run(row, &rounded.asked);
        EXPECT_TRUE(test::equal_bits(alone.dx, with.dx)) << what;
        EXPECT_TRUE(test::equal_bits(alone.dgamma, with.dgamma)) << what;
        EXPECT_TRUE(test::equal_bits(alone.dbeta, with.dbeta)) << what;
        rounded.expect_of(with.dx, what);
        EXPECT_EQ(rounded.asked.bias.added, row == "cuda" && !dropout.active() && D <= 2048) << what;
      }
}

TEST(LayerNormDispatch, AGpuTakesRowsOfSoManyColumns) {
  const auto refusal = [](int64_t columns) {
    float none = 0.0f;  // nothing is read
    const Matrix<float> rows(&none, 1, columns);
    for (const auto& row : LayerNormBackward<F32>::implementations())
      if (row.name == "cuda") return row.refusal({.x_TD = rows, .dy_TD = rows, .dx_TD = rows});
    return std::string("no row");
  };
  EXPECT_EQ(refusal(8192), "");
  EXPECT_EQ(refusal(8193), "rows have 8193 columns, more than 8192");
}

}  // namespace
}  // namespace troupe
