// Gather, combine and their gradients against central differences in double.
#include "ops/moe_rows.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"
#include "moe_rows_case.h"

namespace troupe {
namespace {

struct Case {
  int64_t T, D, K;
  float dropout;
};

class MoeRowsGradient : public testing::TestWithParam<Case> {};

TEST_P(MoeRowsGradient, GatherMatchesCentralDifferences) {
  const auto [T, D, K, dropout] = GetParam();
  test::MoeRowsMap<double> map(T, K);
  auto x = test::normal_values(T * D, 1);
  const auto dxe = test::normal_values(map.R() * D, 2);
  std::vector<double> xe(dxe.size()), dx(x.size(), 0.0);
  const auto loss = [&, T = T, D = D] {
    run(GatherRows<F64>{{x.data(), T, D}, map.rows, {xe.data(), map.R(), D}});
    return test::dot(dxe, xe);
  };
  run(GatherRowsBackward<F64>{{dxe.data(), map.R(), D}, map.rows, {dx.data(), T, D}});
  test::expect_gradient(loss, x, dx);
}

TEST_P(MoeRowsGradient, CombineMatchesCentralDifferences) {
  const auto [T, D, K, probability] = GetParam();
  test::MoeRowsMap<double> map(T, K);
  const Dropout dropout{.probability = probability, .key = 8, .first_row = 5};
  auto residual = test::normal_values(T * D, 1), ye = test::normal_values(map.R() * D, 2);
  map.rows.weight_R = map.weight = test::normal_values(map.R(), 3);
  const auto dout = test::normal_values(T * D, 4);
  std::vector<double> out(dout.size()), dye(ye.size()), dweight(map.weight.size(), 7.0);
  const auto loss = [&, T = T, D = D] {
    run(CombineRows<F64>{{residual.data(), T, D}, {ye.data(), map.R(), D}, map.rows, dropout, {out.data(), T, D}});
    return test::dot(dout, out);
  };
  run(CombineRowsBackward<F64>{{dout.data(), T, D},
                               {ye.data(), map.R(), D},
                               map.rows,
                               dropout,
                               {dye.data(), map.R(), D},
                               dweight});
  test::expect_gradient(loss, residual, dout);  // passes through unchanged
  test::expect_gradient(loss, ye, dye);
  test::expect_gradient(loss, map.weight, dweight);
}

TEST_P(MoeRowsGradient, SharedMatchesCentralDifferences) {
  const auto [T, D, K, probability] = GetParam();
  const Dropout dropout{.probability = probability, .key = 8, .first_row = 5, .multiplier = 0.7f};
  const auto before = test::normal_values(T * D, 1), dout = test::normal_values(T * D, 4);
  auto y = test::normal_values(T * D, 2), gate = test::normal_values(T, 3);
  std::vector<double> dy(y.size()), dgate(gate.size());
  for (const bool gated : {false, true}) {
    const Matrix<const double> gates = gated ? Matrix<const double>(gate.data(), T, 1) : Matrix<const double>();
    const auto loss = [&, T = T, D = D] {
      std::vector<double> out = before;
      run(SharedRows<F64>{{y.data(), T, D}, gates, dropout, {out.data(), T, D}});
      return test::dot(dout, out);
    };
    run(SharedRowsBackward<F64>{{dout.data(), T, D},
                                {y.data(), T, D},
                                gates,
                                dropout,
                                {dy.data(), T, D},
                                gated ? Matrix<double>(dgate.data(), T, 1) : Matrix<double>()});
    test::expect_gradient(loss, y, dy);
    if (gated) test::expect_gradient(loss, gate, dgate);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeRowsGradient,
                         testing::Values(Case{1, 1, 1, 0}, Case{5, 3, 1, 0}, Case{6, 17, 2, 0.3f},
                                         Case{4, 5, 3, 0.5f}));

}  // namespace
}  // namespace troupe
