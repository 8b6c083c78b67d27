// Every implementation of attention against the float64 reference, from the same (rounded) operands.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "guarded.h"
#include "ops/implementations.h"
#include "parity.h"

namespace troupe {
namespace {

struct Case {
  int64_t B, S, H, C;
  float dropout;
  bool padded;
  test::Layout layout;
};

const Case kCases[] = {
    {1, 1, 1, 1, 0, false, {}},           {2, 3, 2, 5, 0, false, {3, 1}},   {1, 63, 1, 64, 0, false, {}},
    {2, 64, 2, 64, 0, false, {}},         {1, 65, 3, 64, 0, false, {5, 3}}, {1, 129, 2, 10, 0, false, {}},
    {1, 200, 1, 80, 0, true, {1, 0}},     {2, 33, 1, 128, 0.1f, true, {}},  {1, 132, 2, 64, 0.1f, false, {}},
    {1, 130, 1, 16, 0.5f, false, {0, 7}}, {0, 5, 2, 4, 0, false, {}},       {2, 0, 2, 4, 0, false, {}},
};

using test::expect_close;
using test::widened;

template <class P>
class Attention {
 public:
  using operand = typename P::operand;

  explicit Attention(const Case& c)
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
  void run(const AttentionKernels<P>& kernels) {
    ctx.fill(77), dqkv.fill(77), lse.fill(77);
    kernels.forward(shape, std::as_const(qkv).view(), ctx.view(), lse_span());
    kernels.backward(shape, std::as_const(qkv).view(), std::as_const(ctx).view(), lse_span(),
                     std::as_const(dctx).view(), dqkv.view());
  }
  std::span<float> lse_span() { return {lse.view().data, static_cast<size_t>(lse.cols())}; }

  int64_t T, D;
  test::Guarded<operand> qkv, ctx, dctx, dqkv;
  test::Guarded<float> lse;
  AttentionShape shape;
  std::vector<uint8_t> key_valid;
};

template <class P>
class AttentionParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(AttentionParity, Precisions);

TYPED_TEST(AttentionParity, EveryImplementationMatchesTheReference) {
  using P = TypeParam;
  constexpr bool bf16_operands = std::is_same_v<P, Bf16>;
  for (const Case& c : kCases) {
    Attention<P> fast(c);
    // The reference in double on the same operands; the backward pass takes the implementation's own context, whose
    // rounding would otherwise hide its errors.
    const auto qkv = widened(fast.qkv), dctx = widened(fast.dctx);
    const int64_t T = fast.T, D = fast.D;
    std::vector<double> ctx(T * D), lse(c.B * c.H * c.S), dqkv(T * 3 * D);
    attention_forward<F64>(fast.shape, {qkv.data(), T, 3 * D}, {ctx.data(), T, D}, lse);
    for (const AttentionKernels<P>& kernels : attention_list<P>()) {
      if (!kernels.refusal().empty()) continue;
      const std::string what = fmt::format("{} B {} S {} H {} C {}", kernels.name, c.B, c.S, c.H, c.C);
      fast.run(kernels);
      const auto fast_ctx = widened(fast.ctx);
      attention_backward<F64>(fast.shape, {qkv.data(), T, 3 * D}, {fast_ctx.data(), T, D}, lse, {dctx.data(), T, D},
                              {dqkv.data(), T, 3 * D});
      // Unit roundoff of an operand (2^-9) for probabilities, context and results; or of float32 (2^-24) in logits of
      // up to 20 before scaling, whose error of about 20 sqrt(C) 2^-24 is the relative error of probabilities.
      const double tolerance = bf16_operands ? 3 * 0x1p-8 : 64 * 0x1p-24;
      expect_close(fast.ctx, ctx, tolerance, what + " ctx");
      expect_close(fast.dqkv, dqkv, (bf16_operands ? 2 : 3) * tolerance, what + " dqkv");
      for (size_t i = 0; i < lse.size(); ++i) {
        const float got = fast.lse_span()[i];
        if (std::isinf(lse[i]))
          ASSERT_EQ(got, lse[i]) << what << " lse " << i;
        else
          ASSERT_NEAR(got, lse[i], 4e-6 * (1 + std::abs(lse[i]))) << what << " lse " << i;
      }
      fast.ctx.expect_guards_intact(what + " ctx");
      fast.dqkv.expect_guards_intact(what + " dqkv");
      fast.lse.expect_guards_intact(what + " lse");
    }
  }
}

TYPED_TEST(AttentionParity, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  const Case c = {1, 300, 3, 64, 0.1f, true, {}};
  for (const AttentionKernels<P>& kernels : attention_list<P>()) {
    if (!kernels.refusal().empty() || kernels.name == "ref") continue;
    std::unique_ptr<Attention<P>> first;
    test::with_threads({1, 2, 3}, [&](int count) {
      auto attention = std::make_unique<Attention<P>>(c);
      attention->run(kernels);
      if (!first) return void(first = std::move(attention));
      EXPECT_TRUE(test::equal_bits(first->ctx, attention->ctx)) << kernels.name << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dqkv, attention->dqkv)) << kernels.name << ", " << count << " threads";
    });
  }
}

TYPED_TEST(AttentionParity, NanReachesExactlyTheQueriesThatSeeIt) {
  using P = TypeParam;
  const Case c = {1, 80, 1, 32, 0, false, {}};
  for (const AttentionKernels<P>& kernels : attention_list<P>()) {
    if (!kernels.refusal().empty()) continue;
    Attention<P> fast(c);
    fast.qkv(70, 32 + 3) = static_cast<typename P::operand>(std::nanf(""));  // in key 70
    fast.run(kernels);
    for (int64_t i = 0; i < 80; ++i)
      ASSERT_EQ(std::isnan(static_cast<float>(fast.ctx(i, 0))), i >= 70) << kernels.name << " query " << i;
  }
}

TYPED_TEST(AttentionParity, DecodesWhatTheWholeSequenceGives) {
  using P = TypeParam;
  using operand = typename P::operand;
  const Case c = {1, 150, 2, 40, 0, false, {2, 1}};
  for (const AttentionKernels<P>& kernels : attention_list<P>()) {
    if (!kernels.refusal().empty()) continue;
    Attention<P> whole(c);
    whole.run(kernels);
    const auto expected = widened(whole.ctx);
    const Matrix<const operand> qkv = std::as_const(whole.qkv).view();
    const auto part = [&](int64_t third, int64_t begin, int64_t count) {
      return Matrix<const operand>(qkv.row(begin) + third * whole.D, count, whole.D, qkv.stride);
    };
    for (const auto& [shared, begin] :
         {std::pair{0, 0}, {0, 149}, {0, 100}, {90, 143}, {90, 90}, {64, 100}, {149, 149}}) {
      test::Guarded<operand> ctx(150, whole.D, c.layout);
      for (int64_t i = 0; i < begin; ++i)
        for (int64_t d = 0; d < whole.D; ++d) ctx(i, d) = whole.ctx(i, d);
      DecodeSequence<P> sequence;
      sequence.q_ND = part(0, begin, 150 - begin);
      sequence.shared_k_LD = part(1, 0, shared), sequence.shared_v_LD = part(2, 0, shared);
      sequence.k_LD = part(1, shared, 150 - shared), sequence.v_LD = part(2, shared, 150 - shared);
      sequence.ctx_ND = ctx.view().rows_from(begin, 150 - begin);
      kernels.decode(c.H, whole.shape.scale, {&sequence, 1});
      const double tolerance = std::is_same_v<P, Bf16> ? 3 * 0x1p-8 : 32 * 0x1p-24;
      expect_close(ctx, expected, tolerance, fmt::format("{} shared {} begin {}", kernels.name, shared, begin));
      ctx.expect_guards_intact(std::string(kernels.name));
    }
  }
}

}  // namespace
}  // namespace troupe
