// Every implementation of the rows between tokens and experts against the reference in double.
#include "ops/moe_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "moe_rows_case.h"
#include "parity.h"

namespace troupe {
namespace {

using test::Guarded;
using test::Layout;
using test::widened;

template <class P>
struct MoeRows {
  using operand = typename P::operand;

  MoeRows(int64_t T, int64_t D, int64_t K, Layout layout)
      : map(T, K),
        x(T, D, layout),
        xe(map.R(), D, layout),
        dxe(map.R(), D, layout),
        dx(T, D, layout),
        residual(T, D, layout),
        ye(map.R(), D, layout),
        weight(1, map.R()),
        out(T, D, layout),
        dout(T, D, layout),
        dye(map.R(), D, layout),
        dweight(1, map.R()) {
    x.fill_normal(1), dxe.fill_normal(2), residual.fill_normal(3), ye.fill_normal(4), weight.fill_normal(5);
    dout.fill_normal(6);
    map.rows.weight_R = flat(weight);
  }
  static std::span<float> flat(Guarded<float>& m) { return {m.view().data, static_cast<size_t>(m.cols())}; }
  void run(std::string_view row, const Dropout& dropout) {
    xe.fill(9), dx.fill(0.5), out.fill(9), dye.fill(9), dweight.fill(9);
    test::run_as(row, GatherRows<P>{std::as_const(x).view(), map.rows, xe.view()});
    test::run_as(row, GatherRowsBackward<P>{std::as_const(dxe).view(), map.rows, dx.view()});
    test::run_as(row, CombineRows<P>{std::as_const(residual).view(), std::as_const(ye).view(), map.rows,
                                     dropout, out.view()});
    test::run_as(row, CombineRowsBackward<P>{std::as_const(dout).view(), std::as_const(ye).view(), map.rows,
                                             dropout, dye.view(), flat(dweight)});
  }

  test::MoeRowsMap<float> map;
  Guarded<operand> x, xe;
  Guarded<float> dxe, dx, residual, ye, weight, out, dout;
  Guarded<operand> dye;
  Guarded<float> dweight;
};

const Dropout kDropouts[] = {{}, {.probability = 0.3f, .key = 5, .first_row = (int64_t{1} << 33) + 1}};

template <class P>
class MoeRowsParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(MoeRowsParity, Precisions);

TYPED_TEST(MoeRowsParity, EveryImplementationMatchesTheReference) {
  using P = TypeParam;
  struct Case {
    int64_t T, D, K;
    Layout layout;
  };
  for (const Case& c : {Case{0, 5, 1, {}},
                        {1, 1, 1, {}},
                        {3, 15, 2, {2, 1}},
                        {64, 16, 1, {}},
                        {65, 17, 2, {0, 3}},
                        {130, 33, 3, {}},
                        {9, 768, 2, {1, 0}}})
    for (const Dropout& dropout : kDropouts) {
      MoeRows<P> fast(c.T, c.D, c.K, c.layout);
      const int64_t R = fast.map.R();
      const auto x = widened(fast.x), dxe = widened(fast.dxe), residual = widened(fast.residual), ye = widened(fast.ye);
      const auto dout = widened(fast.dout);
      test::MoeRowsMap<double> map(c.T, c.K);
      map.rows.weight_R = map.weight = widened(fast.weight);
      std::vector<double> xe(R * c.D), dx(c.T * c.D, 0.5), out(c.T * c.D), dye(R * c.D), dweight(R);
      run(GatherRows<F64>{{x.data(), c.T, c.D}, map.rows, {xe.data(), R, c.D}});
      run(GatherRowsBackward<F64>{{dxe.data(), R, c.D}, map.rows, {dx.data(), c.T, c.D}});
      run(CombineRows<F64>{{residual.data(), c.T, c.D},
                           {ye.data(), R, c.D},
                           map.rows,
                           dropout,
                           {out.data(), c.T, c.D}});
      run(CombineRowsBackward<F64>{{dout.data(), c.T, c.D},
                                   {ye.data(), R, c.D},
                                   map.rows,
                                   dropout,
                                   {dye.data(), R, c.D},
                                   dweight});
      for (const std::string_view row : test::usable<CombineRows<P>>()) {
        const std::string what = fmt::format("{} T {} D {} K {} p {}", row, c.T, c.D, c.K, dropout.probability);
        fast.run(row, dropout);
        const double tolerance = 8 * 0x1p-24;  // float32 sums of K + 1 terms; of D / 16 + 16 for dweight
        test::expect_close(fast.xe, xe, 0.0, what + " xe");
        test::expect_close(fast.dx, dx, tolerance, what + " dx");
        test::expect_close(fast.out, out, tolerance, what + " out");
        test::expect_close(fast.dye, dye, std::is_same_v<P, Bf16> ? 0x1p-8 : tolerance, what + " dye");
        test::expect_close(fast.dweight, dweight, 4 * tolerance, what + " dweight");
        fast.xe.expect_guards_intact(what), fast.dx.expect_guards_intact(what), fast.out.expect_guards_intact(what);
        fast.dye.expect_guards_intact(what), fast.dweight.expect_guards_intact(what);
      }
    }
}

TYPED_TEST(MoeRowsParity, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<CombineRows<P>>()) {
    std::unique_ptr<MoeRows<P>> first;
    test::with_threads({1, 2, 3}, [&](int count) {
      auto rows = std::make_unique<MoeRows<P>>(333, 65, 2, Layout{});
      rows->run(row, kDropouts[1]);
      if (!first) return void(first = std::move(rows));
      EXPECT_TRUE(test::equal_bits(first->dx, rows->dx)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->out, rows->out)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dye, rows->dye)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dweight, rows->dweight)) << row << ", " << count << " threads";
    });
  }
}

TYPED_TEST(MoeRowsParity, TheResultMayBeTheResidual) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<CombineRows<P>>()) {
    MoeRows<P> rows(7, 20, 2, {});
    rows.run(row, {});
    test::run_as(row, CombineRows<P>{std::as_const(rows.residual).view(),
                                     std::as_const(rows.ye).view(),
                                     rows.map.rows,
                                     {},
                                     rows.residual.view()});
    EXPECT_TRUE(test::equal_bits(rows.out, rows.residual)) << row;
  }
}

TYPED_TEST(MoeRowsParity, NanReachesTheTokensOfItsRowAlone) {
  using P = TypeParam;
  for (const std::string_view row : test::usable<CombineRows<P>>()) {
    MoeRows<P> rows(9, 20, 2, {});
    rows.ye(4, 3) = std::nanf("");
    rows.run(row, {});
    for (int64_t t = 0; t < 9; ++t)
      EXPECT_EQ(std::isnan(rows.out(t, 3)), t == rows.map.rows.token_of_R[4]) << row << " token " << t;
  }
}

}  // namespace
}  // namespace troupe
