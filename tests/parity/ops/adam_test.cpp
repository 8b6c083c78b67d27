// Every implementation of Adam's passes against the float64 reference.
#include "ops/adam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "kernels/ref/adam.h"
#include "parity.h"

namespace troupe {
namespace {

using test::Guarded;
using test::widened;

struct State {
  explicit State(int64_t n) : p(1, n, {0, 1}), g(1, n, {0, 2}), m(1, n, {0, 3}), v(1, n) {
    p.fill_normal(1), g.fill_normal(2, 1e3), m.fill_normal(3, 0.1), v.fill_normal(4);
    for (int64_t i = 0; i < n; ++i) v(0, i) = v(0, i) * v(0, i) * 0.01f, g(0, i) = i % 5 == 0 ? 0.0f : g(0, i);
  }
  static std::span<float> flat(Guarded<float>& x) { return {x.view().data, static_cast<size_t>(x.cols())}; }
  void run(std::string_view row, const AdamStep& step, double grad_scale) {
    test::run_as(row, AdamUpdate<float>{flat(p), flat(g), flat(m), flat(v), step, grad_scale});
  }
  Guarded<float> p, g, m, v;
};

TEST(AdamParity, EveryImplementationMatchesTheReference) {
  for (const auto form : {AdamStep::Form::kFairseq, AdamStep::Form::kUsual})
    for (const int64_t t : {1, 2, 1000})
      for (const int64_t n : {0, 1, 15, 16, 17, 16384, 40001}) {
        const AdamStep step{.lr = 0.01, .eps = 1e-3, .weight_decay = 0.1, .t = t, .form = form};
        State start(n);
        auto p = widened(start.p), g = widened(start.g), m = widened(start.m), v = widened(start.v);
        run(AdamUpdate<double>{p, g, m, v, step, 1e-3});
        for (const std::string_view row : test::usable<AdamUpdate<float>>()) {
          const std::string what = fmt::format("{} n {} t {} form {}", row, n, t, static_cast<int>(form));
          State state(n);
          state.run(row, step, 1e-3);
          test::expect_close(state.p, p, 8 * 0x1p-24, what + " p");
          test::expect_close(state.m, m, 4 * 0x1p-24, what + " m");
          test::expect_close(state.v, v, 4 * 0x1p-24, what + " v");
          EXPECT_TRUE(test::equal_bits(state.g, start.g)) << what;
          for (const Guarded<float>* x : {&state.p, &state.m, &state.v}) x->expect_guards_intact(what);
        }
      }
}

TEST(AdamParity, AnElementDependsOnItselfAlone) {
  for (const std::string_view row : test::usable<AdamUpdate<float>>()) {
    State whole(1000), pieces(1000);
    whole.run(row, {.t = 3}, 0.5);
    for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 1}, {1, 8}, {8, 519}, {519, 1000}}) {
      const auto part = [first = begin, count = end - begin](Guarded<float>& x) {
        return State::flat(x).subspan(first, count);
      };
      test::run_as(row,
                   AdamUpdate<float>{part(pieces.p), part(pieces.g), part(pieces.m), part(pieces.v), {.t = 3}, 0.5});
    }
    EXPECT_TRUE(test::equal_bits(whole.p, pieces.p)) << row;
  }
}

struct StateInBf16 {
  explicit StateInBf16(int64_t n) : p(1, n, {0, 1}), g(1, n, {0, 2}), m(1, n, {0, 3}), v(1, n) {
    p.fill_normal(1), g.fill_normal(2, 1e3), m.fill_normal(3, 0.1), v.fill_normal(4);
    for (int64_t i = 0; i < n; ++i) v(0, i) = bf16(v(0, i) * v(0, i) * 0.01f);
  }
  template <class T>
  static std::span<T> flat(Guarded<T>& x, int64_t begin, int64_t end) {
    return std::span<T>(x.view().data, static_cast<size_t>(x.cols()))
        .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  AdamUpdateBf16<float> task(int64_t begin, int64_t end, const AdamStep& step, int64_t first) {
    return {flat(p, begin, end), flat(g, begin, end), flat(m, begin, end), flat(v, begin, end), step, 1e-3, 77,
            first + begin};
  }
  Guarded<float> p, g;
  Guarded<bf16> m, v;
};

// With decays of 0 a moment is a gradient or its square, the same number for every implementation: so are its chances.
TEST(AdamParity, MomentsInBf16AreRoundedByTheSameChances) {
  for (const int64_t n : {0, 1, 3, 4, 17, 40001})
    for (const int64_t first : {0, 5, 1 << 20}) {
      const AdamStep exact{.lr = 0.01, .beta1 = 0.0, .beta2 = 0.0, .eps = 1e-3, .t = 3};
      StateInBf16 start(n), expected(n);
      for (Guarded<float>* g : {&start.g, &expected.g})  // times 2^-10: no rounding but by chance
        for (int64_t i = 0; i < n; ++i) (*g)(0, i) = static_cast<float>(static_cast<int>((*g)(0, i)) % 4096);
      AdamUpdateBf16<float> task = expected.task(0, n, exact, first);
      task.grad_scale = 0x1p-10;
      ref::adam_update_bf16(task);
      for (const std::string_view row : test::usable<AdamUpdateBf16<float>>()) {
        const std::string what = fmt::format("{} n {} first {}", row, n, first);
        StateInBf16 state(n);
        state.g.for_each([&](int64_t i, int64_t j) { return start.g(i, j); });
        for (const auto& [begin, end] : {std::pair{int64_t{0}, n / 3}, {n / 3, n}}) {  // however it is cut
          AdamUpdateBf16<float> part = state.task(begin, end, exact, first);
          part.grad_scale = 0x1p-10;
          test::run_as(row, part);
        }
        EXPECT_TRUE(test::equal_bits(state.m, expected.m)) << what;
        EXPECT_TRUE(test::equal_bits(state.v, expected.v)) << what;
        test::expect_close(state.p, widened(expected.p), 8 * 0x1p-24, what + " p");
        state.p.expect_guards_intact(what);
        for (const Guarded<bf16>* x : {&state.m, &state.v}) x->expect_guards_intact(what);
      }
    }
}

TEST(AdamParity, EveryImplementationWithMomentsInBf16MatchesTheReference) {
  for (const auto form : {AdamStep::Form::kFairseq, AdamStep::Form::kUsual})
    for (const int64_t n : {1, 17, 40001}) {
      const AdamStep step{.lr = 0.01, .eps = 1e-3, .weight_decay = 0.1, .t = 2, .form = form};
      StateInBf16 expected(n);
      ref::adam_update_bf16(expected.task(0, n, step, 0));
      for (const std::string_view row : test::usable<AdamUpdateBf16<float>>()) {
        const std::string what = fmt::format("{} n {} form {}", row, n, static_cast<int>(form));
        StateInBf16 state(n);
        test::run_as(row, state.task(0, n, step, 0));
        test::expect_close(state.p, widened(expected.p), 8 * 0x1p-24, what + " p");
        test::expect_close(state.m, widened(expected.m), 0x1p-7, what + " m");  // a sum's last bit may lift it
        test::expect_close(state.v, widened(expected.v), 0x1p-7, what + " v");
      }
    }
}

TEST(AdamParity, SumsOfSquaresAgreeAndDoNotDependOnThreads) {
  for (const int64_t n : {0, 1, 15, 16384, 16385, 100003}) {
    State state(n);
    const auto values = widened(state.p);
    double expected = 0.0;
    for (const double value : values) expected += value * value;
    for (const std::string_view row : test::usable<SumOfSquares<float>>()) {
      double first = -1.0;
      test::with_threads({1, 2, 3}, [&](int count) {
        double sum = -1.0;
        test::run_as(row, SumOfSquares<float>{State::flat(state.p), &sum});
        EXPECT_NEAR(sum, expected, 1e-12 * expected) << row << " n " << n;
        if (first < 0.0) first = sum;
        EXPECT_EQ(sum, first) << row << " n " << n << ", " << count << " threads";
      });
    }
  }
}

// Every 16,384 elements, however many a thread takes at a time: in one sum with 2^54 some of the ones would be lost.
TEST(AdamParity, SumsOfSquaresAreCutAlike) {
  std::vector<float> values((size_t{1} << 21) + 3);
  for (size_t i = 0; i < values.size(); ++i) values[i] = i / 16384 % 2 ? 1.0f : i % 16384 == 0 ? 0x1p27f : 0.0f;
  for (const std::string_view row : test::usable<SumOfSquares<float>>()) {
    if (row == "ref" || row == "cuda") continue;  // which cut otherwise
    test::with_threads({1, 2, 5}, [&](int count) {
      double sum = -1.0;
      test::run_as(row, SumOfSquares<float>{values, &sum});
      EXPECT_EQ(sum, 65 * 0x1p54 + 64 * 16384.0) << row << ", " << count << " threads";
    });
  }
}

TEST(AdamParity, EveryImplementationFindsTheFirstMomentInBf16ThatIsNotFinite) {
  for (const std::string_view row : test::usable<FindNonFinite<bf16>>())
    for (const int64_t bad : {-1, 0, 39999}) {
      StateInBf16 state(40001);
      if (bad >= 0) state.m(0, bad) = bf16(std::nanf("")), state.m(0, 40000) = bf16(HUGE_VALF);
      int64_t first = -2;
      test::run_as(row, FindNonFinite<bf16>{StateInBf16::flat(state.m, 0, 40001), &first});
      EXPECT_EQ(first, bad) << row;
    }
}

TEST(AdamParity, EveryImplementationFindsTheFirstValueThatIsNotFinite) {
  for (const std::string_view row : test::usable<FindNonFinite<float>>())
    for (const int64_t n : {0, 1, 17, 16384, 40001})
      for (const std::vector<int64_t>& bad : {std::vector<int64_t>{}, {n - 1}, {0, n - 1}, {n / 2, n - 1}}) {
        State state(n);
        if (n > 0)
          for (const int64_t i : bad) state.p(0, i) = i % 2 ? HUGE_VALF : std::nanf("");
        int64_t first = -2;
        test::run_as(row, FindNonFinite<float>{State::flat(state.p), &first});
        EXPECT_EQ(first, bad.empty() || n == 0 ? -1 : bad.front()) << row << " n " << n;
      }
}

}  // namespace
}  // namespace troupe
