// What CUTLASS is asked and what the device writes for it, by a stand-in that keeps and computes it; what it is not
// asked; and whether it takes these shapes, where it is compiled in. (That the numbers are right is the parity test of
// linear products.)
#include "kernels/cuda/cutlass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "kernels/cuda/switches.h"
#include "ops/linear.h"
#include "recorded_cutlass.h"
#include "setting.h"

namespace troupe {
namespace {

using cuda::CutlassProducts, cuda::LinearProduct, cuda::GroupShape;
using test::Guarded, test::RecordedCutlass, test::Setting;

constexpr int64_t kN = 24, kK = 16;

// Experts of these rows, [24, 16] each, in matrices with gaps.
struct Experts {
  explicit Experts(const std::vector<int64_t>& rows_E)
      : E(static_cast<int64_t>(rows_E.size())),
        weight(E * kN, kK),
        bias(E, kN),
        dw(E * kN, kK),
        db(E, kN),
        R(count(rows_E)),
        x(R, kK, {8, 0}),
        dx(R, kK, {16, 0}),
        y(R, kN, {24, 0}),
        pre(R, kN, {32, 0}),
        dy(R, kN, {40, 0}),
        y_real(R, kN, {4, 0}) {
    weight.fill_normal(1), bias.fill_normal(2), x.fill_normal(3), dy.fill_normal(4), pre.fill_normal(5);
    dw.fill_normal(6), db.fill_normal(7);
    for (const int64_t rows : rows_E) offsets.push_back(offsets.back() + rows);
    RecordedCutlass::calls().clear();
  }
  static int64_t count(const std::vector<int64_t>& rows_E) {
    int64_t sum = 0;
    for (const int64_t rows : rows_E) sum += rows;
    return sum;
  }
  LinearBank<Bf16> bank(bool with_bias = true) const {
    return {E, kN, kK, weight.view().data, with_bias ? bias.view().data : nullptr};
  }

  int64_t E;
  Guarded<float> weight, bias, dw, db;
  int64_t R;
  Guarded<bf16> x, dx, y, pre, dy;
  Guarded<float> y_real;
  std::vector<int64_t> offsets = {0};
};

class Cutlass : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::machine() || cuda::machine()->stream() || !cuda::cutlass_unavailable().empty())
      GTEST_SKIP() << "the stand-in is not in use";
  }
  const Setting by_cutlass_{cuda::kGroupedSwitch.name, "cutlass"};
};

template <class Task>
std::string refusal(const Task& task) {
  return test::row_named<Task>("cutlass").refusal(task);
}

// The row itself, which must take the task; what it was asked.
template <class Task>
RecordedCutlass::Call asked(const Task& task) {
  EXPECT_EQ(refusal(task), "");
  RecordedCutlass::calls().clear();
  test::run_as("cutlass", task);
  EXPECT_EQ(RecordedCutlass::calls().size(), 1);
  return RecordedCutlass::calls().at(0);
}

LinearForward<Bf16> forward_of(const Experts& c, const LinearBank<Bf16>& bank, const ForwardEpilogue<Bf16>& epilogue) {
  return {bank, c.x.view(), c.offsets, epilogue};
}
LinearBackwardWeight<Bf16> weights_of(Experts& c, const LinearBank<Bf16>& bank) {
  return {bank, std::as_const(c.dy).view(), std::as_const(c.x).view(), c.offsets, c.dw.view().data, c.db.view().data};
}

// The host's computation of what the kernel writes on the device.
TEST_F(Cutlass, IsToldOnTheDeviceWhereEveryExpertLies) {
  std::vector<int64_t> rows_E(300, 0);  // more than a block of the kernel takes
  for (size_t e = 0; e < rows_E.size(); ++e) rows_E[e] = static_cast<int64_t>(e % 3);
  Experts c(rows_E);
  const LinearBank<Bf16> bank = c.bank();
  const bf16* const weights = bank.device_operands();
  const auto forward = asked(forward_of(c, bank, {.out_operand = c.y.view()}));
  const auto backward =
      asked(LinearBackwardInput<Bf16>{bank, std::as_const(c.dy).view(), c.offsets, {.out_operand = c.dx.view()}});
  const auto gradient = asked(weights_of(c, bank));
  for (const auto* call : {&forward, &backward, &gradient}) {
    EXPECT_EQ(call->products.num_groups, 300);
    ASSERT_EQ(call->groups.size(), 300);
    EXPECT_EQ(call->products.has_bias, call == &forward);
    EXPECT_EQ(call->products.is_wide, call == &gradient);
    EXPECT_EQ(call->products.short_tiles, call != &gradient);
  }
  for (size_t e = 0; e < rows_E.size(); ++e) {
    const int64_t expert = static_cast<int64_t>(e), first = c.offsets[e];
    const auto rows = static_cast<int32_t>(rows_E[e]);
    const auto expect = [&](const RecordedCutlass::Call& call, GroupShape shape, const void* a, int64_t a_stride,
                            const void* b, int64_t b_stride, const void* d, int64_t d_stride) {
      const RecordedCutlass::Group& group = call.groups[e];
      if (rows == 0) shape = {0, 0, 0};  // nothing to write
      EXPECT_EQ(std::tuple(group.shape.m, group.shape.n, group.shape.k), std::tuple(shape.m, shape.n, shape.k)) << e;
      EXPECT_EQ(std::tuple(group.a, group.b, group.d), std::tuple(a, b, d)) << e;
      EXPECT_EQ(std::tuple(group.a_stride, group.b_stride, group.d_stride), std::tuple(a_stride, b_stride, d_stride));
    };
    const auto row_of = [&](auto& matrix) { return matrix.view().rows_from(first, 0).data; };
    expect(forward, {rows, kN, kK}, row_of(c.x), 24, weights + expert * kN * kK, kK, row_of(c.y), 48);
    EXPECT_EQ(forward.groups[e].bias, c.bias.view().data + expert * kN);
    expect(backward, {rows, kK, kN}, row_of(c.dy), 64, weights + expert * kN * kK, kK, row_of(c.dx), 32);
    EXPECT_EQ(backward.groups[e].bias, nullptr);
    expect(gradient, {kN, kK, rows}, row_of(c.dy), 64, row_of(c.x), 24, c.dw.view().data + expert * kN * kK, kK);
  }
}

TEST_F(Cutlass, ReadsRowsOfExpertsThatAreOnTheDevice) {
  Experts c({2, 0, 5});
  const LinearBank<Bf16> bank = c.bank(false);
  int64_t waits = 0;
  const RowOffsets there(c.offsets.data(), [&]() -> std::span<const int64_t> { return ++waits, c.offsets; });
  const auto call = asked(LinearForward<Bf16>{bank, std::as_const(c.x).view(), there, {.out_real = c.y_real.view()}});
  EXPECT_TRUE(call.products.is_wide);
  EXPECT_FALSE(call.products.has_bias);
  EXPECT_EQ(call.groups[2].shape.m, 5);
  EXPECT_EQ(call.groups[2].d, c.y_real.view().data + 2 * 28);
  asked(LinearBackwardWeight<Bf16>{bank, std::as_const(c.dy).view(), std::as_const(c.x).view(), there, c.dw.view().data,
                                   c.db.view().data});
  EXPECT_EQ(waits, 0);
}

TEST_F(Cutlass, TilesAreShortWhereExpertsHaveFewRows) {
  for (const auto& [rows, is_short] : {std::pair{255, true}, {256, false}}) {
    Experts c({rows, rows});
    const LinearBank<Bf16> bank = c.bank();
    EXPECT_EQ(asked(forward_of(c, bank, {.out_operand = c.y.view()})).products.short_tiles, is_short);
    EXPECT_FALSE(asked(weights_of(c, bank)).products.short_tiles);
  }
}

TEST_F(Cutlass, AnExpertWithoutRowsKeepsItsGradient) {
  Experts c({0, 3, 0});
  const LinearBank<Bf16> bank = c.bank();
  std::vector<float> before;
  for (int64_t i = 0; i < 3 * kN; ++i)
    for (int64_t j = 0; j < kK; ++j) before.push_back(c.dw(i, j));
  asked(weights_of(c, bank));
  for (int64_t i = 0; i < 3 * kN; ++i) {
    const bool has_rows = i / kN == 1;
    int64_t changed = 0;
    for (int64_t j = 0; j < kK; ++j) changed += c.dw(i, j) != before[static_cast<size_t>(i * kK + j)];
    EXPECT_EQ(changed > 0, has_rows) << i;
  }
}

TEST_F(Cutlass, IsAskedNothingWithoutRows) {
  Experts c({0, 0});
  const LinearBank<Bf16> bank = c.bank();
  const auto task = weights_of(c, bank);
  EXPECT_EQ(refusal(task), "");
  test::run_as("cutlass", task);
  EXPECT_TRUE(RecordedCutlass::calls().empty());
}

TEST_F(Cutlass, RefusesWhatItHasNot) {
  Experts c({2, 3});
  const LinearBank<Bf16> bank = c.bank();
  const Guarded<float> residual(c.R, kN);
  const auto reason = [&](const ForwardEpilogue<Bf16>& epilogue) { return refusal(forward_of(c, bank, epilogue)); };
  EXPECT_EQ(reason({.out_operand = c.y.view()}), "");
  EXPECT_EQ(reason({.out_operand = c.y.view(), .activation = Activation::kSilu, .pre_activation = c.pre.view()}), "");
  const std::string more = "more than an activation follows the sums";
  EXPECT_EQ(reason({.out_real = c.y_real.view(), .activation = Activation::kSilu}), more);
  EXPECT_EQ(reason({.out_real = c.y_real.view(), .residual = residual.view()}), more);
  EXPECT_EQ(reason({.out_operand = c.y.view(), .dropout = {.probability = 0.1f}}), more);
  EXPECT_EQ(reason({.out_operand = c.y.view(), .dropout = {.multiplier = 0.5f}}), more);
  EXPECT_EQ(refusal(LinearBackwardInput<Bf16>{
                bank,
                std::as_const(c.dy).view(),
                c.offsets,
                {.out_real = c.y_real.view(), .activation = Activation::kSilu, .pre_activation = c.x.view()}}),
            "sums in float32 are followed by a derivative");
  const std::string unaligned = "CUTLASS wants multiples of 8 that start at multiples of 16 bytes";
  Guarded<bf16> odd_stride(c.R, kN, {4, 0}), odd_start(c.R, kN, {0, 4});
  EXPECT_EQ(reason({.out_operand = odd_stride.view()}), unaligned);
  EXPECT_EQ(reason({.out_operand = odd_start.view()}), unaligned);
  const LinearBank<Bf16> odd(2, kN, 12, c.weight.view().data, nullptr), one(1, kN, kK, c.weight.view().data, nullptr);
  const Guarded<bf16> narrow(c.R, 12, {4, 0});
  EXPECT_EQ(refusal(LinearForward<Bf16>{odd, narrow.view(), c.offsets, {.out_operand = c.y.view()}}), unaligned);
  EXPECT_EQ(refusal(LinearForward<Bf16>{one, std::as_const(c.x).view(), {}, {.out_operand = c.y.view()}}),
            "it is one map over all rows");
  for (const char* other : {"", "0", "1"}) {
    const Setting set(cuda::kGroupedSwitch.name, other);
    EXPECT_EQ(reason({.out_operand = c.y.view()}), "TROUPE_CUDA_GROUPED is not cutlass");
  }
}

TEST_F(Cutlass, IsForHopperAlone) {
  EXPECT_EQ(cuda::cutlass_card_problem(9, 0), "");
  EXPECT_EQ(cuda::cutlass_card_problem(8, 0), "expected a card of compute capability 9.x, got 8.0");
  EXPECT_EQ(cuda::cutlass_card_problem(12, 0), "expected a card of compute capability 9.x, got 12.0");
}

// The library's own judgement, which needs no card.
TEST(CutlassItself, TakesWhatItIsAsked) {
  if (cuda::cutlass_version().empty()) GTEST_SKIP() << "built without CUTLASS (tools/gpu/headers.sh)";
  const std::vector<GroupShape> rows = {{0, 0, 0}, {1, 3072, 768}, {1000, 3072, 768}, {7, 8, 8}};
  const std::vector<GroupShape> depths = {{0, 0, 0}, {3072, 768, 1}, {3072, 768, 1000}, {8, 8, 7}};
  for (const bool is_wide : {false, true})
    for (const bool short_tiles : {false, true})
      for (const LinearProduct product : {LinearProduct::kForward, LinearProduct::kBackwardInput}) {
        CutlassProducts products{
            product, is_wide, short_tiles, product == LinearProduct::kForward, static_cast<int32_t>(rows.size()), {}};
        EXPECT_TRUE(cuda::cutlass_takes(products, rows));
        products.num_groups = 1;
        EXPECT_FALSE(cuda::cutlass_takes(products, std::vector<GroupShape>{{8, 8, 12}}));  // columns of A
      }
  CutlassProducts products{LinearProduct::kBackwardWeight, true, false, false, static_cast<int32_t>(depths.size()), {}};
  float before = 0.0f;
  void* of_d = &before;
  products.arrays.d = &of_d;
  EXPECT_TRUE(cuda::cutlass_takes(products, depths));
  products.num_groups = 1;
  EXPECT_FALSE(cuda::cutlass_takes(products, std::vector<GroupShape>{{12, 8, 7}}));  // rows of dy
}

}  // namespace
}  // namespace troupe
