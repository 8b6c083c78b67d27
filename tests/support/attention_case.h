// Attention on random operands, run through any implementation and compared with the reference in double. Used by the
// parity tests of the list of implementations and of kernels that no list on this machine holds.
#pragma once

#include <fmt/core.h>
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
  int64_t G = 0;  // heads of keys and values; 0: H
  int64_t window = 0;
  int64_t text = 0;  // every so many tokens another text begins; 0: none does
  bool aligned = false;  // rows start where those of a model do: for libraries, which ask for it and take bf16 alone

  AttentionHeads heads() const {
    return {.H = H, .G = G > 0 ? G : H, .C = C, .scale = 1.0 / std::sqrt(C), .window = window};
  }
};

// Blocks are 64 x 64; widths around multiples of 16 and 32. Windows end inside of, at and after blocks.
inline const AttentionSizes kAttentionSizes[] = {
    {1, 1, 1, 1, 0, false, {}},           {2, 3, 2, 5, 0, false, {3, 1}},   {1, 63, 1, 64, 0, false, {}},
    {2, 64, 2, 64, 0, false, {}},         {1, 65, 3, 64, 0, false, {5, 3}}, {1, 129, 2, 10, 0, false, {}},
    {1, 200, 1, 80, 0, true, {1, 0}},     {2, 33, 1, 128, 0.1f, true, {}},  {1, 132, 2, 64, 0.1f, false, {}},
    {1, 130, 1, 16, 0.5f, false, {0, 7}}, {0, 5, 2, 4, 0, false, {}},       {2, 0, 2, 4, 0, false, {}},
    {2, 70, 4, 16, 0, false, {3, 1}, 2},  {1, 130, 6, 20, 0.1f, true, {}, 2},   {2, 65, 3, 64, 0, false, {}, 1},
    {2, 0, 2, 4, 0, false, {}, 1},        {1, 70, 1, 16, 0, false, {}, 1, 1},   {1, 200, 2, 64, 0, false, {1, 0}, 2, 5},
    {1, 300, 1, 32, 0, false, {}, 1, 64}, {1, 300, 1, 32, 0, true, {}, 1, 65},  {2, 200, 4, 16, 0.2f, true, {}, 2, 100},
    {1, 150, 2, 10, 0, false, {}, 1, 149}, {1, 150, 2, 10, 0, false, {}, 1, 1000},
    {2, 200, 2, 16, 0, false, {1, 0}, 1, 0, 1}, {1, 300, 2, 32, 0.1f, true, {}, 2, 0, 50}, {2, 200, 4, 64, 0, false, {}, 2, 0, 64},
    {1, 300, 1, 32, 0, false, {}, 1, 40, 130},
    {1, 256, 4, 64, 0, false, {}, 2, 0, 0, true}, {1, 200, 1, 128, 0, false, {}, 1, 0, 0, true},
    {2, 130, 2, 64, 0, false, {8, 8}, 1, 50, 0, true},
};

inline std::string describe(const AttentionSizes& c) {
  return fmt::format("B {} S {} H {} G {} C {} window {} text {}", c.B, c.S, c.H, c.heads().G, c.C, c.window, c.text);
}

template <class P>
class AttentionCase {
  // The tasks of ops/attention.h in double, as far as the reference reads them: kernels are tested without ops.
  struct Forward {
    using real = double;
    using operand = double;
    AttentionShape shape;
    Matrix<const double> q_THC, k_TGC, v_TGC;
    Matrix<double> ctx_THC;
    std::span<double> lse_BHS;
  };
  struct Backward {
    using operand = double;
    AttentionShape shape;
    Matrix<const double> q_THC, k_TGC, v_TGC, ctx_THC;
    std::span<const double> lse_BHS;
    Matrix<const double> dctx_THC;
    Matrix<double> dq_THC, dk_TGC, dv_TGC;
  };

 public:
  using operand = typename P::operand;

  explicit AttentionCase(const AttentionSizes& c)
      : T(c.B * c.S),
        D(c.H * c.C),
        W(c.heads().G * c.C),
        q(T, D, c.layout),
        k(T, W, c.layout),
        v(T, W, {c.layout.padding + (c.aligned ? 8 : 2), c.layout.offset}),
        ctx(T, D, c.layout),
        dctx(T, D, c.layout),
        dqkv(T, D + 2 * W, c.layout),
        lse(1, c.B * c.H * c.S) {
    q.fill_normal(1, 1.5), k.fill_normal(3, 1.5), v.fill_normal(4, 1.5);
    dctx.fill_normal(2);
    shape = {.B = c.B, .S = c.S, .heads = c.heads(), .key_valid = {}, .dropout = {}};
    shape.dropout = {.probability = c.dropout, .key = 99, .first_row = int64_t{3} << 31};
    if (c.padded) {
      key_valid.resize(static_cast<size_t>(T));
      for (int64_t t = 0; t < T; ++t) key_valid[static_cast<size_t>(t)] = t % 7 != 0 && t % c.S < c.S - 2;
      shape.key_valid = key_valid;
    }
    if (c.text > 0) {
      for (int64_t t = 0; t < T; ++t)
        key_end.push_back(static_cast<int32_t>(std::min(c.S, (t % c.S / c.text + 1) * c.text)));
      shape.key_end = key_end;
    }
  }
  // The columns of a row that holds q, k and v.
  template <class Number>
  QueryKeyValue<Number> split(const Matrix<Number>& m) const {
    const auto part = [&](int64_t first, int64_t count) {
      return Matrix<Number>(m.data + first, m.rows, count, m.stride);
    };
    return {part(0, D), part(D, W), part(D + W, W)};
  }
  std::span<float> lse_span() { return {lse.view().data, static_cast<size_t>(lse.cols())}; }

  // forward and backward are called as the ops are.
  template <class Forward, class Backward>
  void run(const Forward& forward, const Backward& backward) {
    ctx.fill(77), dqkv.fill(77), lse.fill(77);
    const QueryKeyValue<const operand> in{std::as_const(q).view(), std::as_const(k).view(), std::as_const(v).view()};
    forward(shape, in, ctx.view(), lse_span());
    backward(shape, in, std::as_const(ctx).view(), lse_span(), std::as_const(dctx).view(),
             split(dqkv.view()));
  }

  // After run(): context, gradients and log-sums against the reference in double on the same operands. The backward
  // reference takes the context at hand, whose rounding would otherwise hide its errors.
  void expect_matches_reference(const std::string& what) {
    constexpr bool kRounded = std::is_same_v<P, Bf16>;
    const auto wide_q = widened(q), wide_k = widened(k), wide_v = widened(v), wide_dctx = widened(dctx),
               wide_ctx = widened(ctx);
    std::vector<double> want_ctx(T * D), want_lse(lse.cols()), want_dqkv(T * (D + 2 * W));
    const Matrix<const double> q_double(wide_q.data(), T, D), k_double(wide_k.data(), T, W),
        v_double(wide_v.data(), T, W);
    ref::attention_forward(Forward{shape, q_double, k_double, v_double, {want_ctx.data(), T, D}, want_lse});
    const auto gradient = split(Matrix<double>(want_dqkv.data(), T, D + 2 * W));
    ref::attention_backward(Backward{shape,
                                     q_double,
                                     k_double,
                                     v_double,
                                     {wide_ctx.data(), T, D},
                                     want_lse,
                                     {wide_dctx.data(), T, D},
                                     gradient.q_THC,
                                     gradient.k_TGC,
                                     gradient.v_TGC});
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

  int64_t T, D, W;  // W = G C
  Guarded<operand> q, k, v, ctx, dctx, dqkv;  // dqkv: a row holds the gradients of q, k and v
  Guarded<float> lse;
  AttentionShape shape;
  std::vector<uint8_t> key_valid;
  std::vector<int32_t> key_end;
};

}  // namespace troupe::test
