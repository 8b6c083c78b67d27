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
  problem.run(
      [&](const auto& shape, const auto& in, auto... out) {
        test::run_as(row, AttentionForward<P>{shape, in.q_THC, in.k_TGC, in.v_TGC, out...});
      },
      [&](const auto& shape, const auto& in, const auto& ctx, const auto& lse, const auto& dctx, const auto& out) {
        test::run_as(row, AttentionBackward<P>{shape, in.q_THC, in.k_TGC, in.v_TGC, ctx, lse, dctx, out.q_THC,
                                               out.k_TGC, out.v_TGC});
      });
  return problem;
}

template <class P>
class AttentionParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(AttentionParity, Precisions);

TYPED_TEST(AttentionParity, EveryImplementationMatchesTheReference) {
  using P = TypeParam;
  for (const AttentionSizes& sizes : test::kAttentionSizes) {
    if (sizes.aligned && !std::is_same_v<P, Bf16>) continue;
    AttentionCase<P> problem(sizes);
    for (const std::string_view row : test::usable<AttentionForward<P>>())
      run(problem, row).expect_matches_reference(fmt::format("{} {}", row, test::describe(sizes)));
  }
}

// With all masks, in windows, with shared heads, at sizes around those of tiles.
TEST(AttentionOnTensorCores, MatchesTheReferenceWhereRowsAreAligned) {
  if (!cuda::machine()) GTEST_SKIP() << "neither a GPU nor the emulated grid is in use";
  const auto run_row = [](const auto& task) {
    for (const auto& row : std::decay_t<decltype(task)>::implementations())
      if (row.name == "tensor_cores") {
        ASSERT_EQ(row.refusal(task), "");
        row.run(task, Context::of_this_thread());
      }
  };
  int64_t cases = 0;
  for (AttentionSizes sizes : test::kAttentionSizes) {
    if (sizes.C % 8 != 0) continue;
    ++cases;
    sizes.aligned = true;
    sizes.layout = {(sizes.layout.padding + 7) / 8 * 8, sizes.layout.offset * 8};
    AttentionCase<Bf16> problem(sizes);
    problem.run(
        [&](const auto& shape, const auto& in, auto... out) {
          run_row(AttentionForward<Bf16>{shape, in.q_THC, in.k_TGC, in.v_TGC, out...});
        },
        [&](const auto& shape, const auto& in, const auto& ctx, const auto& lse, const auto& dctx, const auto& out) {
          run_row(AttentionBackward<Bf16>{shape, in.q_THC, in.k_TGC, in.v_TGC, ctx, lse, dctx, out.q_THC, out.k_TGC,
                                          out.v_TGC});
        });
    problem.expect_matches_reference(test::describe(sizes));
  }
  EXPECT_GE(cases, 20);
}

TYPED_TEST(AttentionParity, BitsDoNotDependOnThreads) {
  using P = TypeParam;
  for (const AttentionSizes& c : {AttentionSizes{1, 300, 3, 64, 0.1f, true, {}, 3, 0, 0, true},
                                  AttentionSizes{1, 300, 3, 32, 0.1f, true, {}, 1, 90, 0, true}})
    for (const std::string_view row : test::usable<AttentionForward<P>>()) {
      if (row == "ref") continue;
      std::unique_ptr<AttentionCase<P>> first;
      test::with_threads({1, 2, 3}, [&](int count) {
        auto attention = std::make_unique<AttentionCase<P>>(c);
        run(*attention, row);
        if (!first) return void(first = std::move(attention));
        const std::string what = fmt::format("{} {}, {} threads", row, test::describe(c), count);
        EXPECT_TRUE(test::equal_bits(first->ctx, attention->ctx)) << what;
        EXPECT_TRUE(test::equal_bits(first->dqkv, attention->dqkv)) << what;
      });
    }
}

TYPED_TEST(AttentionParity, NanReachesExactlyTheQueriesThatSeeIt) {
  using P = TypeParam;
  const AttentionSizes c = {1, 80, 1, 32, 0, false, {}, 1, 0, 0, true};
  for (const std::string_view row : test::usable<AttentionForward<P>>()) {
    AttentionCase<P> fast(c);
    fast.k(70, 3) = static_cast<typename P::operand>(std::nanf(""));
    run(fast, row);
    for (int64_t i = 0; i < 80; ++i)
      ASSERT_EQ(std::isnan(static_cast<float>(fast.ctx(i, 0))), i >= 70) << row << " query " << i;
  }
}

// Heads that share keys and values give what heads with copies of them give.
TYPED_TEST(AttentionParity, SharedKeysGiveWhatCopiesGive) {
  using P = TypeParam;
  const AttentionSizes grouped = {1, 90, 4, 24, 0.1f, false, {}, 2, 0, 0, true};
  AttentionSizes copied = grouped;
  copied.G = grouped.H;
  for (const std::string_view row : test::usable<AttentionForward<P>>()) {
    AttentionCase<P> shared(grouped), each(copied);
    each.k.for_each([&](int64_t t, int64_t x) { return double{shared.k(t, x / 48 * 24 + x % 24)}; });
    each.v.for_each([&](int64_t t, int64_t x) { return double{shared.v(t, x / 48 * 24 + x % 24)}; });
    run(shared, row), run(each, row);
    EXPECT_TRUE(test::equal_bits(shared.ctx, each.ctx)) << row;
    for (int64_t t = 0; t < shared.T; ++t)
      for (int64_t d = 0; d < shared.D; ++d)
        ASSERT_EQ(float{shared.dqkv(t, d)}, float{each.dqkv(t, d)}) << row << " dq " << t << ", " << d;
  }
}

// Whatever the past is cut into, bit for bit.
TYPED_TEST(AttentionParity, DecodesWhatTheWholeSequenceGives) {
  using P = TypeParam;
  using operand = typename P::operand;
  for (const AttentionSizes& c : {AttentionSizes{1, 150, 2, 40, 0, false, {2, 1}},
                                  AttentionSizes{1, 150, 4, 40, 0, false, {2, 1}, 2},
                                  AttentionSizes{1, 150, 3, 16, 0, false, {}, 1, 30}})
    for (const std::string_view row : test::usable<AttentionForward<P>>()) {
      AttentionCase<P> whole(c);
      run(whole, row);
      const auto expected = test::widened(whole.ctx);
      for (const int64_t begin : {0, 90, 100, 143, 149}) {
        std::unique_ptr<test::Guarded<operand>> first;
        for (const std::vector<int64_t>& lengths : std::vector<std::vector<int64_t>>{
                 {150}, {90, 60}, {64, 64, 22}, {0, 149, 0, 1}, {1, 62, 1, 0, 1, 64, 21}}) {
          auto ctx = std::make_unique<test::Guarded<operand>>(150, whole.D, c.layout);
          for (int64_t i = 0; i < begin; ++i)
            for (int64_t d = 0; d < whole.D; ++d) (*ctx)(i, d) = whole.ctx(i, d);
          std::vector<KvSegment<operand>> past;
          int64_t at = 0;
          for (const int64_t length : lengths) {
            past.push_back({whole.k.view().rows_from(at, length), whole.v.view().rows_from(at, length)});
            at += length;
          }
          const DecodeSequence<P> sequence{
              whole.q.view().rows_from(begin, 150 - begin), past, ctx->view().rows_from(begin, 150 - begin)};
          test::run_as(row, AttentionDecode<P>{whole.shape.heads, {&sequence, 1}});
          const std::string what =
              fmt::format("{} {} begin {}, {} segments", row, test::describe(c), begin, lengths.size());
          const double tolerance = std::is_same_v<P, Bf16> ? 3 * 0x1p-8 : 64 * 0x1p-24;
          test::expect_close(*ctx, expected, tolerance, what);
          ctx->expect_guards_intact(what);
          if (first)
            EXPECT_TRUE(test::equal_bits(*first, *ctx)) << what;
          else
            first = std::move(ctx);
        }
      }
    }
}

}  // namespace
}  // namespace troupe
