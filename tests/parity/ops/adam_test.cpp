// Every implementation of Adam's passes against the float64 reference.
#include "ops/adam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "guarded.h"
#include "implementations.h"
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
