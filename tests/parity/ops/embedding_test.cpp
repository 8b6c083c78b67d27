// Every implementation of the embedding and of dropout's gradient against the reference.
#include "ops/embedding.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "ops/elementwise.h"
#include "parity.h"

namespace troupe {
namespace {

using test::Guarded;
using test::Layout;

struct Embedding {
  Embedding(int64_t T, int64_t D, Layout layout)
      : table(V, D, layout),
        positions(P, D, layout),
        x(T, D, layout),
        dx(T, D, layout),
        dtable(V, D, layout),
        dpositions(P, D, layout) {
    table.fill_normal(1), positions.fill_normal(2), dx.fill_normal(3);
    for (int64_t t = 0; t < T; ++t) {
      tokens.push_back(static_cast<int32_t>(t * t % 5 == 0 ? 1 : t * 7 % V));
      where.push_back(static_cast<int32_t>(1 + t % (P - 1)));
    }
  }
  void run(std::string_view row, const Dropout& dropout) {
    x.fill(9), dtable.fill(0.5), dpositions.fill(0.25);
    test::run_as(row, EmbeddingForward<F32>{tokens, where, std::as_const(table).view(), std::as_const(positions).view(),
                                            1.5, dropout, x.view()});
    test::run_as(row, EmbeddingBackward<F32>{.tokens_T = tokens,
                                             .positions_T = where,
                                             .pad_id = 1,
                                             .scale = 1.5,
                                             .dropout = dropout,
                                             .dx_TD = std::as_const(dx).view(),
                                             .dembed_VD = dtable.view(),
                                             .dpositions_PD = dpositions.view()});
  }

  static constexpr int64_t V = 23, P = 9;
  std::vector<int32_t> tokens, where;
  Guarded<float> table, positions, x, dx, dtable, dpositions;
};

// first_row beyond 2^32 elements and odd widths: counters carry, and masks start inside a counter's four words.
const Dropout kDropouts[] = {{},
                             {.probability = 0.1f, .key = 5, .first_row = (int64_t{1} << 33) + 1},
                             {.probability = 0.7f, .key = 77, .first_row = 3}};

TEST(EmbeddingParity, EveryImplementationMatchesTheReference) {
  struct Case {
    int64_t T, D;
    Layout layout;
  };
  for (const Case& c : {Case{0, 4, {}}, {1, 1, {}}, {7, 15, {3, 1}}, {64, 16, {}}, {65, 17, {}}, {130, 1100, {0, 5}}})
    for (const Dropout& dropout : kDropouts) {
      Embedding fast(c.T, c.D, c.layout);
      const auto table = widened(fast.table), positions = widened(fast.positions), dx = widened(fast.dx);
      std::vector<double> x(c.T * c.D), dtable(Embedding::V * c.D, 0.5), dpositions(Embedding::P * c.D, 0.25);
      run(EmbeddingForward<F64>{fast.tokens,
                                fast.where,
                                {table.data(), Embedding::V, c.D},
                                {positions.data(), Embedding::P, c.D},
                                1.5,
                                dropout,
                                {x.data(), c.T, c.D}});
      run(EmbeddingBackward<F64>{.tokens_T = fast.tokens,
                                 .positions_T = fast.where,
                                 .pad_id = 1,
                                 .scale = 1.5,
                                 .dropout = dropout,
                                 .dx_TD = {dx.data(), c.T, c.D},
                                 .dembed_VD = {dtable.data(), Embedding::V, c.D},
                                 .dpositions_PD = {dpositions.data(), Embedding::P, c.D}});
      for (const std::string_view row : test::usable<EmbeddingForward<F32>>()) {
        const std::string what = fmt::format("{} T {} D {} p {}", row, c.T, c.D, dropout.probability);
        fast.run(row, dropout);
        test::expect_close(fast.x, x, 4 * 0x1p-24, what + " x");
        test::expect_close(fast.dtable, dtable, 32 * 0x1p-24, what + " dembed");
        test::expect_close(fast.dpositions, dpositions, 32 * 0x1p-24, what + " dpositions");
        fast.x.expect_guards_intact(what);
        fast.dtable.expect_guards_intact(what);
        fast.dpositions.expect_guards_intact(what);
      }
    }
}

TEST(EmbeddingParity, BitsDoNotDependOnThreads) {
  for (const std::string_view row : test::usable<EmbeddingForward<F32>>()) {
    std::unique_ptr<Embedding> first;
    test::with_threads({1, 2, 3}, [&](int count) {
      auto embedding = std::make_unique<Embedding>(777, 33, Layout{});
      embedding->run(row, kDropouts[1]);
      if (!first) return void(first = std::move(embedding));
      EXPECT_TRUE(test::equal_bits(first->x, embedding->x)) << row << ", " << count << " threads";
      EXPECT_TRUE(test::equal_bits(first->dtable, embedding->dtable)) << row << ", " << count << " threads";
    });
  }
}

template <class P>
class DropoutParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(DropoutParity, Precisions);

TYPED_TEST(DropoutParity, EveryImplementationEqualsTheReference) {
  using operand = typename TypeParam::operand;
  for (const auto& [T, D, layout] : {std::tuple{int64_t{0}, int64_t{3}, Layout{}},
                                     {1, 1, {}},
                                     {5, 63, {1, 2}},
                                     {66, 64, {}},
                                     {3, 1025, {0, 1}},
                                     {2, 4099, {}}})
    for (const Dropout& dropout : kDropouts) {
      const auto check = [&]<class Task, class From>(std::type_identity<Task>, Guarded<From> x) {
        x.fill_normal(1);
        Guarded<operand> expected(T, D, layout);
        test::run_as("ref", Task{std::as_const(x).view(), dropout, expected.view()});
        for (const std::string_view row : test::usable<Task>()) {
          Guarded<operand> y(T, D, layout);
          test::run_as(row, Task{std::as_const(x).view(), dropout, y.view()});
          EXPECT_TRUE(test::equal_bits(expected, y)) << row << " T " << T << " D " << D;
          y.expect_guards_intact(std::string(row));
        }
      };
      check(std::type_identity<DropoutBackward<TypeParam>>(), Guarded<float>(T, D, layout));
      check(std::type_identity<DropRows<TypeParam>>(), Guarded<operand>(T, D, layout));
    }
}

}  // namespace
}  // namespace troupe
