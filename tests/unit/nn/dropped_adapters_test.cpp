// Products with dropped adapters against their equations, element by element, with the masks that are drawn.
#include "nn/dropped_adapters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernels/ref/activation.h"
#include "nn/linear.h"

namespace troupe {
namespace {

constexpr int64_t kRows = 7, kIn = 10, kOut = 14, kRank = 3, kFirstToken = 21;
constexpr double kScale = 1.5;

template <class T>
std::vector<T> random_values(int64_t size, uint64_t key) {
  Rng rng(key);
  std::vector<T> values;
  for (int64_t i = 0; i < size; ++i) values.push_back(static_cast<T>(static_cast<float>(rng.normal())));
  return values;
}

// A map [kOut, kIn] of which two matrices of five rows have adapters, from the second row and from the eighth on.
template <class P>
struct Adapted {
  using real = typename P::real;
  using operand = typename P::operand;

  std::vector<real> w = random_values<real>(kOut * kIn, 1), bias = random_values<real>(kOut, 2);
  struct Pair {
    int64_t first_row;
    std::vector<real> a, b, a_turned, da, db;
  };
  std::vector<Pair> pairs;
  std::vector<operand> x = random_values<operand>(kRows * kIn, 3), dy = random_values<operand>(kRows * kOut, 4);
  RunMode mode = {.training = true, .key = 99, .first_token = kFirstToken};
  double probability = 0.4;
  Buffer<std::byte> room;

  Adapted() {
    for (const int64_t first_row : {1, 7}) {
      const auto key = static_cast<uint64_t>(first_row);
      Pair pair{.first_row = first_row,
                .a = random_values<real>(kRank * kIn, 10 + key),
                .b = random_values<real>(5 * kRank, 20 + key),
                .a_turned = {},
                .da = {},
                .db = {}};
      pair.a_turned.resize(pair.a.size()), pair.da.assign(pair.a.size(), 1), pair.db.assign(pair.b.size(), 2);
      for (int64_t i = 0; i < kRank; ++i)
        for (int64_t k = 0; k < kIn; ++k)
          pair.a_turned[static_cast<size_t>(k * kRank + i)] =
              static_cast<real>(kScale) * pair.a[static_cast<size_t>(i * kIn + k)];
      pairs.push_back(std::move(pair));
    }
  }

  DroppedAdapters<P> adapters() {
    std::vector<DroppedAdapter<real>> adapters;
    for (Pair& pair : pairs)
      adapters.push_back({.first_row = pair.first_row,
                          .rows = 5,
                          .rank = kRank,
                          .a = pair.a.data(),
                          .a_turned = pair.a_turned.data(),
                          .b = pair.b.data(),
                          .da = pair.da.data(),
                          .db = pair.db.data(),
                          .scale = kScale,
                          .probability = probability,
                          .key = 1000 + static_cast<uint64_t>(pair.first_row),
                          .room = &room});
    return {{1, kOut, kIn, w.data(), bias.data()}, std::move(adapters)};
  }
  Matrix<const operand> x_RK() const { return {x.data(), kRows, kIn}; }
  Matrix<const operand> dy_RN() const { return {dy.data(), kRows, kOut}; }

  // The equations in double.
  static double at(const auto& values, int64_t i) {
    return static_cast<double>(static_cast<real>(values[static_cast<size_t>(i)]));
  }
  double kept(const Pair& pair, int64_t r, int64_t k) const {
    const uint64_t key = mix_key(99, 1000 + static_cast<uint64_t>(pair.first_row));
    const Dropout mask{static_cast<float>(probability), key, kFirstToken};
    return kScale * static_cast<double>(mask.scale(r, k, kIn));
  }
  double u(const Pair& pair, int64_t r, int64_t i) const {
    double sum = 0.0;
    for (int64_t k = 0; k < kIn; ++k) sum += kept(pair, r, k) * at(x, r * kIn + k) * at(pair.a, i * kIn + k);
    return sum;
  }
  double du(const Pair& pair, int64_t r, int64_t i) const {
    double sum = 0.0;
    for (int64_t n = 0; n < 5; ++n) sum += at(dy, r * kOut + pair.first_row + n) * at(pair.b, n * kRank + i);
    return sum;
  }
  double y(int64_t r, int64_t n) const {
    double sum = at(bias, n);
    for (int64_t k = 0; k < kIn; ++k) sum += at(x, r * kIn + k) * at(w, n * kIn + k);
    for (const Pair& pair : pairs)
      for (int64_t i = 0; i < kRank && n >= pair.first_row && n < pair.first_row + 5; ++i)
        sum += u(pair, r, i) * at(pair.b, (n - pair.first_row) * kRank + i);
    return sum;
  }
  double dx(int64_t r, int64_t k) const {
    double sum = 0.0;
    for (int64_t n = 0; n < kOut; ++n) sum += at(dy, r * kOut + n) * at(w, n * kIn + k);
    for (const Pair& pair : pairs)
      for (int64_t i = 0; i < kRank; ++i) sum += kept(pair, r, k) * du(pair, r, i) * at(pair.a, i * kIn + k);
    return sum;
  }
};

template <class P>
class DroppedAdaptersTest : public testing::Test {
 protected:
  using real = typename P::real;
  // A few roundings of operands or of sums, and in double that of a mask's factor.
  static constexpr double kTolerance = std::is_same_v<P, F64> ? 1e-6 : std::is_same_v<P, F32> ? 1e-5 : 0.03;

  template <class T, class Wanted>
  static void expect_near(const std::vector<T>& got, int64_t cols, const Wanted& wanted) {
    for (int64_t i = 0; i < static_cast<int64_t>(got.size()); ++i)
      EXPECT_NEAR(Adapted<P>::at(got, i), wanted(i / cols, i % cols),
                  kTolerance * (5.0 + std::abs(wanted(i / cols, i % cols))))
          << i / cols << ", " << i % cols;
  }
};
using Precisions = testing::Types<F64, F32, Bf16>;
TYPED_TEST_SUITE(DroppedAdaptersTest, Precisions);

TYPED_TEST(DroppedAdaptersTest, ForwardIsTheSumOfBothProductsBeforeTheEpilogue) {
  using real = typename TypeParam::real;
  using operand = typename TypeParam::operand;
  Adapted<TypeParam> map;
  const DroppedAdapters<TypeParam> adapters = map.adapters();
  std::vector<operand> y(kRows * kOut), pre(kRows * kOut);
  adapters.forward(map.x_RK(), map.mode, {.out_operand = {y.data(), kRows, kOut}});
  this->expect_near(y, kOut, [&](int64_t r, int64_t n) { return map.y(r, n); });

  adapters.forward(map.x_RK(), map.mode,
                   {.out_operand = {y.data(), kRows, kOut},
                    .activation = Activation::kGeluErf,
                    .pre_activation = {pre.data(), kRows, kOut}});
  this->expect_near(pre, kOut, [&](int64_t r, int64_t n) { return map.y(r, n); });
  this->expect_near(y, kOut, [&](int64_t r, int64_t n) { return ref::activate(Activation::kGeluErf, map.y(r, n)); });

  std::vector<real> out = random_values<real>(kRows * kOut, 5);
  const std::vector<real> before = out;
  const Matrix<real> out_RN(out.data(), kRows, kOut);
  const Dropout dropout{0.3f, 7, kFirstToken};
  adapters.forward(map.x_RK(), map.mode, {.out_real = out_RN, .residual = out_RN, .dropout = dropout});
  this->expect_near(out, kOut, [&](int64_t r, int64_t n) {
    return map.at(before, r * kOut + n) + static_cast<double>(dropout.scale(r, n, kOut)) * map.y(r, n);
  });
}

TYPED_TEST(DroppedAdaptersTest, BackwardInputIsThatOfBothProducts) {
  using real = typename TypeParam::real;
  using operand = typename TypeParam::operand;
  Adapted<TypeParam> map;
  const DroppedAdapters<TypeParam> adapters = map.adapters();
  std::vector<real> dx(kRows * kIn, 9);
  adapters.backward_input(map.dy_RN(), map.mode, {.out_real = {dx.data(), kRows, kIn}});
  this->expect_near(dx, kIn, [&](int64_t r, int64_t k) { return map.dx(r, k); });

  std::vector<operand> through(kRows * kIn), pre = random_values<operand>(kRows * kIn, 6);
  adapters.backward_input(map.dy_RN(), map.mode,
                          {.out_operand = {through.data(), kRows, kIn},
                           .activation = Activation::kGeluErf,
                           .pre_activation = {pre.data(), kRows, kIn}});
  this->expect_near(through, kIn, [&](int64_t r, int64_t k) {
    return map.dx(r, k) * ref::activation_derivative(Activation::kGeluErf, map.at(pre, r * kIn + k));
  });
}

TYPED_TEST(DroppedAdaptersTest, GradientsAreAddedToEachPair) {
  Adapted<TypeParam> map;
  map.adapters().add_gradients(map.dy_RN(), map.x_RK(), map.mode);
  for (const auto& pair : map.pairs) {
    this->expect_near(pair.da, kIn, [&](int64_t i, int64_t k) {
      double sum = 1.0;
      for (int64_t r = 0; r < kRows; ++r) sum += map.du(pair, r, i) * map.kept(pair, r, k) * map.at(map.x, r * kIn + k);
      return sum;
    });
    this->expect_near(pair.db, kRank, [&](int64_t n, int64_t i) {
      double sum = 2.0;
      for (int64_t r = 0; r < kRows; ++r) sum += map.at(map.dy, r * kOut + pair.first_row + n) * map.u(pair, r, i);
      return sum;
    });
  }
}

// Rows of a later part of the batch are what they are in the whole.
TYPED_TEST(DroppedAdaptersTest, MasksAreOfTokensNotOfRows) {
  using operand = typename TypeParam::operand;
  Adapted<TypeParam> map;
  const DroppedAdapters<TypeParam> adapters = map.adapters();
  std::vector<operand> whole(kRows * kOut), part(4 * kOut);
  adapters.forward(map.x_RK(), map.mode, {.out_operand = {whole.data(), kRows, kOut}});
  map.mode.first_token += 3;
  adapters.forward(map.x_RK().rows_from(3, 4), map.mode, {.out_operand = {part.data(), 4, kOut}});
  for (size_t i = 0; i < part.size(); ++i)
    EXPECT_EQ(static_cast<float>(part[i]), static_cast<float>(whole[i + 3 * kOut]));
}

}  // namespace
}  // namespace troupe
