// Attention on random operands, run through any implementation and compared with the reference in double. Used by the
// parity tests of the list of implementations and of kernels that no list on this machine holds.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "guarded.h"
#include "kernels/attention_shape.h"
#include "kernels/ref/attention.h"
#include "parity.h"
#include "tensor/precision.h"

namespace troupe::test {

struct AttentionSizes {
  int64_t B, S, H, C;
  float dropout;
  bool padded;
  Layout layout;
};

// Blocks are 64 x 64; widths around multiples of 16 and 32.
inline const AttentionSizes kAttentionSizes[] = {
    {1, 1, 1, 1, 0, false, {}},           {2, 3, 2, 5, 0, false, {3, 1}},   {1, 63, 1, 64, 0, false, {}},
    {2, 64, 2, 64, 0, false, {}},         {1, 65, 3, 64, 0, false, {5, 3}}, {1, 129, 2, 10, 0, false, {}},
    {1, 200, 1, 80, 0, true, {1, 0}},     {2, 33, 1, 128, 0.1f, true, {}},  {1, 132, 2, 64, 0.1f, false, {}},
    {1, 130, 1, 16, 0.5f, false, {0, 7}}, {0, 5, 2, 4, 0, false, {}},       {2, 0, 2, 4, 0, false, {}},
};

template <class P>
class AttentionCase {
  // The tasks of ops/attention.h in double, as far as the reference reads them: kernels are tested without ops.
  struct Forward {
    using real = double;
    using operand = double;
    AttentionShape shape;
    Matrix<const double> qkv_T3D;
    Matrix<double> ctx_TD;
    std::span<double> lse_BHS;
  };
  struct Backward {
    using operand = double;
    AttentionShape shape;
    Matrix<const double> qkv_T3D, ctx_TD;
    std::span<const double> lse_BHS;
    Matrix<const double> dctx_TD;
    Matrix<double> dqkv_T3D;
  };

 public:
  using operand = typename P::operand;

  explicit AttentionCase(const AttentionSizes& c)
      : T(c.B * c.S),
        D(c.H * c.C),
        qkv(T, 3 * D, c.layout),
        ctx(T, D, c.layout),
        dctx(T, D, c.layout),
        dqkv(T, 3 * D, c.layout),
        lse(1, c.B * c.H * c.S) {
    qkv.fill_normal(1, 1.5);
    dctx.fill_normal(2);
    shape = {.B = c.B, .S = c.S, .H = c.H, .C = c.C, .scale = 1.0 / std::sqrt(c.C), .key_valid = {}, .dropout = {}};
    shape.dropout = {.probability = c.dropout, .key = 99, .first_row = int64_t{3} << 31};
    if (c.padded) {
      key_valid.resize(static_cast<size_t>(T));
      for (int64_t t = 0; t < T; ++t) key_valid[static_cast<size_t>(t)] = t % 7 != 0 && t % c.S < c.S - 2;
      shape.key_valid = key_valid;
    }
  }
  std::span<float> lse_span() { return {lse.view().data, static_cast<size_t>(lse.cols())}; }

  // forward and backward are called as the ops are.
  template <class Forward, class Backward>
  void run(const Forward& forward, const Backward& backward) {
    ctx.fill(77), dqkv.fill(77), lse.fill(77);
    forward(shape, std::as_const(qkv).view(), ctx.view(), lse_span());
    backward(shape, std::as_const(qkv).view(), std::as_const(ctx).view(), lse_span(), std::as_const(dctx).view(),
             dqkv.view());
  }

  // After run(): context, gradients and log-sums against the reference in double on the same operands. The backward
  // reference takes the context at hand, whose rounding would otherwise hide its errors.
  void expect_matches_reference(const std::string& what) {
    constexpr bool kRounded = std::is_same_v<P, Bf16>;
    const auto wide_qkv = widened(qkv), wide_dctx = widened(dctx), wide_ctx = widened(ctx);
    std::vector<double> want_ctx(T * D), want_lse(lse.cols()), want_dqkv(T * 3 * D);
    const Matrix<const double> in_double(wide_qkv.data(), T, 3 * D);
    ref::attention_forward(Forward{shape, in_double, {want_ctx.data(), T, D}, want_lse});
    ref::attention_backward(Backward{
        shape, in_double, {wide_ctx.data(), T, D}, want_lse, {wide_dctx.data(), T, D}, {want_dqkv.data(), T, 3 * D}});
    // Unit roundoff of an operand (2^-9) for probabilities, context and results; or of float32 (2^-24) in logits of
    // up to 20 before scaling, whose error of about 20 sqrt(C) 2^-24 is the relative error of probabilities.
    const double tolerance = kRounded ? 3 * 0x1p-8 : 64 * 0x1p-24;
    expect_close(ctx, want_ctx, tolerance, what + " ctx");
    expect_close(dqkv, want_dqkv, (kRounded ? 2 : 3) * tolerance, what + " dqkv");
    for (size_t i = 0; i < want_lse.size(); ++i) {
      const float got = lse_span()[i];
      if (std::isinf(want_lse[i]))
        ASSERT_EQ(got, want_lse[i]) << what << " lse " << i;
      else
        ASSERT_NEAR(got, want_lse[i], 4e-6 * (1 + std::abs(want_lse[i]))) << what << " lse " << i;
    }
    ctx.expect_guards_intact(what + " ctx");
    dqkv.expect_guards_intact(what + " dqkv");
    lse.expect_guards_intact(what + " lse");
  }

  int64_t T, D;
  Guarded<operand> qkv, ctx, dctx, dqkv;
  Guarded<float> lse;
  AttentionShape shape;
  std::vector<uint8_t> key_valid;
};

}  // namespace troupe::test
