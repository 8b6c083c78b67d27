// The reference of the matrix products against central differences in double.
#include "ops/linear.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

using test::dot;
using test::expect_gradient;
using test::normal_values;

struct Case {
  std::vector<int64_t> offsets;
  int64_t out, in;
  Activation activation;
  bool dropout, residual;
};

class LinearGradient : public testing::TestWithParam<Case> {};

TEST_P(LinearGradient, MatchesCentralDifferences) {
  const Case& c = GetParam();
  const int64_t E = static_cast<int64_t>(c.offsets.size()) - 1, R = c.offsets.back();
  auto w = normal_values<double>(E * c.out * c.in, 1), b = normal_values<double>(E * c.out, 2);
  auto x = normal_values<double>(R * c.in, 3), skip = normal_values<double>(R * c.out, 4);
  const auto dy = normal_values<double>(R * c.out, 5);
  const LinearBank<F64> bank(E, c.out, c.in, w.data(), b.data());
  const Dropout dropout = c.dropout ? Dropout{0.4f, 9, 3} : Dropout{};

  std::vector<double> z(dy.size()), y(dy.size());
  const auto loss = [&] {
    ForwardEpilogue<F64> epilogue;
    epilogue.out_real = {y.data(), R, c.out};
    epilogue.pre_activation = {z.data(), R, c.out};
    epilogue.activation = c.activation;
    epilogue.dropout = dropout;
    if (c.residual) epilogue.residual = {skip.data(), R, c.out};
    run(LinearForward<F64>{bank, {x.data(), R, c.in}, c.offsets, epilogue});
    return dot(dy, y);
  };
  loss();

  // dz = dropout'(dy), through gelu by an identity map with BackwardEpilogue.
  std::vector<double> dz = dy;
  for (int64_t i = 0; i < R; ++i)
    for (int64_t j = 0; j < c.out; ++j) dz[i * c.out + j] *= dropout.scale(i, j, c.out);
  if (c.activation != Activation::kNone) {
    std::vector<double> identity(c.out * c.out);
    for (int64_t i = 0; i < c.out; ++i) identity[i * c.out + i] = 1.0;
    const LinearBank<F64> same(1, c.out, c.out, identity.data(), nullptr);
    BackwardEpilogue<F64> epilogue;
    std::vector<double> through(dz.size());
    epilogue.out_real = {through.data(), R, c.out};
    epilogue.pre_activation = {z.data(), R, c.out};
    epilogue.activation = c.activation;
    run(LinearBackwardInput<F64>{same, {dz.data(), R, c.out}, {}, epilogue});
    dz = through;
  }
  std::vector<double> dx(x.size()), dw(w.size()), db(b.size());
  BackwardEpilogue<F64> epilogue;
  epilogue.out_real = {dx.data(), R, c.in};
  run(LinearBackwardInput<F64>{bank, {dz.data(), R, c.out}, c.offsets, epilogue});
  run(LinearBackwardWeight<F64>{bank, {dz.data(), R, c.out}, {x.data(), R, c.in}, c.offsets, dw.data(), db.data()});

  expect_gradient(loss, x, dx);
  expect_gradient(loss, w, dw);
  expect_gradient(loss, b, db);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearGradient,
                         testing::Values(Case{{0, 1}, 1, 1, Activation::kNone, false, false},
                                         Case{{0, 5}, 3, 4, Activation::kNone, false, true},
                                         Case{{0, 5}, 3, 4, Activation::kNone, true, true},
                                         Case{{0, 4}, 6, 3, Activation::kGeluErf, false, false},
                                         Case{{0, 4}, 6, 3, Activation::kGeluTanh, true, false},
                                         Case{{0, 0, 3, 3, 7}, 5, 2, Activation::kGeluErf, false, false},
                                         Case{{0, 2, 6, 7}, 2, 7, Activation::kGeluTanh, false, true}));

}  // namespace
}  // namespace troupe
