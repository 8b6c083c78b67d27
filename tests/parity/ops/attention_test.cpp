// Every implementation of attention against the float64 reference, from the same (rounded) operands.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "attention_case.h"
#include "guarded.h"
#include "implementations.h"
#include "parity.h"

namespace troupe {
namespace {

using test::AttentionCase;
using test::AttentionSizes;

template <class P>
AttentionCase<P>& run(AttentionCase<P>& problem, std::string_view row) {
  problem.run([&](auto... args) { test::run_as(row, AttentionForward<P>{args...}); },
              [&](auto... args) { test::run_as(row, AttentionBackward<P>{args...}); });
  return problem;
}

template <class P>
class AttentionParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(AttentionParity, Precisions);

TYPED_TEST(AttentionParity, EveryImplementationMatchesTheReference) {
  using P = TypeParam;
  for (const AttentionSizes& sizes : test::kAttentionSizes) {
    AttentionCase<P> problem(sizes);
    for (const std::string_view row : test::usable<AttentionForward<P>>())
      run(problem, row)
          .expect_matches_reference(fmt::format("{} B {} S {} H {} C {}", row, sizes.B, sizes.S, sizes.H, sizes.C));
  }
}

TYPED_TEST(AttentionParity, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  const AttentionSizes c = {1, 300, 3, 64, 0.1f, true, {}};
  for (const std::string_view row : test::usable<AttentionForward<P>>()) {
    if (row == "ref") continue;
    std::unique_ptr<AttentionCase<P>> first;
    test::with_threads({1, 2, 3}, [&](int count) {
      auto attention = std::make_unique<AttentionCase<P>>(c);
      run(*attention, row);
      if (!first) return void(first = std::move(attention));
      EXPECT_TRUE(test::equal_bits(first->ctx, attention->ctx)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dqkv, attention->dqkv)) << row << ", " << count << " threads";
    });
  }
}

TYPED_TEST(AttentionParity, NanReachesExactlyTheQueriesThatSeeIt) {
  using P = TypeParam;
  const AttentionSizes c = {1, 80, 1, 32, 0, false, {}};
  for (const std::string_view row : test::usable<AttentionForward<P>>()) {
    AttentionCase<P> fast(c);
    fast.qkv(70, 32 + 3) = static_cast<typename P::operand>(std::nanf(""));  // in key 70
    run(fast, row);
    for (int64_t i = 0; i < 80; ++i)
      ASSERT_EQ(std::isnan(static_cast<float>(fast.ctx(i, 0))), i >= 70) << row << " query " << i;
  }
}

TYPED_TEST(AttentionParity, DecodesWhatTheWholeSequenceGives) {
  using P = TypeParam;
  using operand = typename P::operand;
  const AttentionSizes c = {1, 150, 2, 40, 0, false, {2, 1}};
  for (const std::string_view row : test::usable<AttentionForward<P>>()) {
    AttentionCase<P> whole(c);
    run(whole, row);
    const auto expected = test::widened(whole.ctx);
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
      test::run_as(row, AttentionDecode<P>{c.H, whole.shape.scale, {&sequence, 1}});
      const double tolerance = std::is_same_v<P, Bf16> ? 3 * 0x1p-8 : 32 * 0x1p-24;
      test::expect_close(ctx, expected, tolerance, fmt::format("{} shared {} begin {}", row, shared, begin));
      ctx.expect_guards_intact(std::string(row));
    }
  }
}

}  // namespace
}  // namespace troupe
