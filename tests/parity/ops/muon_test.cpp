// Every implementation of Muon against the float64 reference.
#include "ops/muon.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "guarded.h"
#include "implementations.h"
#include "parity.h"

namespace troupe {
namespace {

using test::Guarded;
using test::widened;

struct Sizes {
  int64_t count, rows, cols;
};

// A matrix is a row: [count, rows * cols].
struct State {
  explicit State(const Sizes& sizes)
      : sizes(sizes),
        p(1, sizes.count * sizes.rows * sizes.cols, {0, 1}),
        g(1, p.cols(), {0, 2}),
        m(1, p.cols(), {0, 3}) {
    p.fill_normal(1, 0.1), g.fill_normal(2, 1e3), m.fill_normal(3);
  }
  static std::span<float> flat(Guarded<float>& x, int64_t begin, int64_t size) {
    return {x.view().data + begin, static_cast<size_t>(size)};
  }
  template <class P>
  void run_part(std::string_view row, const MuonStep& step, int64_t first, int64_t count) {
    const int64_t area = sizes.rows * sizes.cols;
    MuonWorkspace<P> workspace(active_memory());
    const auto part = [&](Guarded<float>& x) { return flat(x, first * area, count * area); };
    test::run_as(row, MuonUpdate<P>{.count = count,
                                    .rows = sizes.rows,
                                    .cols = sizes.cols,
                                    .p = part(p),
                                    .g = part(g),
                                    .m = part(m),
                                    .step = step,
                                    .grad_scale = 1e-3,
                                    .workspace = &workspace});
  }
  template <class P>
  void run(std::string_view row, const MuonStep& step) {
    run_part<P>(row, step, 0, sizes.count);
  }
  Sizes sizes;
  Guarded<float> p, g, m;
};

constexpr MuonStep kStep{.lr = 0.5, .momentum = 0.9, .weight_decay = 0.1};

// Against the reference in float64, and closer against that in P itself, which rounds at the same places.
template <class P>
void expect_parity(double tolerance, double own_tolerance) {
  for (const bool nesterov : {true, false})
    for (const Sizes& sizes :
         {Sizes{1, 1, 1}, {2, 1, 7}, {1, 7, 1}, {3, 16, 16}, {1, 17, 33}, {2, 70, 33}, {2, 33, 130}, {3, 40, 41}}) {
      MuonStep step = kStep;
      step.nesterov = nesterov;
      State start(sizes);
      auto p = widened(start.p), g = widened(start.g), m = widened(start.m);
      run(MuonUpdate<F64>{.count = sizes.count,
                          .rows = sizes.rows,
                          .cols = sizes.cols,
                          .p = p,
                          .g = g,
                          .m = m,
                          .step = step,
                          .grad_scale = 1e-3});
      State rounded(sizes);
      rounded.run<P>("ref", step);
      const auto own = widened(rounded.p);
      for (const std::string_view row : test::usable<MuonUpdate<P>>()) {
        const std::string what = fmt::format("{} [{}, {}, {}]", row, sizes.count, sizes.rows, sizes.cols);
        State state(sizes);
        state.run<P>(row, step);
        test::expect_close(state.p, p, tolerance, what + " p");
        test::expect_close(state.p, own, own_tolerance, what + " p of the same roundings");
        test::expect_close(state.m, m, 8 * 0x1p-24, what + " m");
        EXPECT_TRUE(test::equal_bits(state.g, start.g)) << what;
        for (const Guarded<float>* x : {&state.p, &state.m, &state.g}) x->expect_guards_intact(what);
      }
    }
}

TEST(MuonParity, MatchesTheReferenceInFloat32) { expect_parity<F32>(2e-5, 2e-5); }
TEST(MuonParity, MatchesTheReferenceInBf16) { expect_parity<Bf16>(8e-2, 4e-2); }

template <class P>
void expect_same_bits() {
  for (const std::string_view row : test::usable<MuonUpdate<P>>())
    for (const Sizes& sizes : {Sizes{3, 40, 130}, {3, 130, 40}, {2, 96, 96}}) {
      State expected(sizes);
      expected.run<P>(row, kStep);
      test::with_threads({1, 2, 3}, [&](int count) {
        State state(sizes);
        state.run<P>(row, kStep);
        EXPECT_TRUE(test::equal_bits(state.p, expected.p)) << row << ", " << count << " threads";
      });
      State one_by_one(sizes);
      for (int64_t e = 0; e < sizes.count; ++e) one_by_one.run_part<P>(row, kStep, e, 1);
      EXPECT_TRUE(test::equal_bits(one_by_one.p, expected.p)) << row << ", a matrix at a time";
    }
}

TEST(MuonParity, BitsDependNeitherOnThreadsNorOnTheOtherMatrices) {
  expect_same_bits<F32>();
  expect_same_bits<Bf16>();
}

// A matrix without gradient and momentum only decays: nothing is divided by its norm.
TEST(MuonParity, NothingMovesByNothing) {
  for (const std::string_view row : test::usable<MuonUpdate<F32>>()) {
    State state({2, 5, 9}), start({2, 5, 9});
    state.g.fill(0.0), state.m.fill(0.0);
    state.run<F32>(row, kStep);
    for (int64_t i = 0; i < state.p.cols(); ++i) EXPECT_FLOAT_EQ(state.p(0, i), 0.95f * start.p(0, i)) << row;
  }
}

}  // namespace
}  // namespace troupe
