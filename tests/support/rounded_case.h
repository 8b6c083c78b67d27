// What a pass that ends a gradient dx leaves of it (ops/rounded_gradient.h).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "guarded.h"
#include "ops/rounded_gradient.h"
#include "parity.h"

namespace troupe::test {

template <class P>
struct RoundedCase {
  using operand = typename P::operand;

  RoundedCase(int64_t T, int64_t D, Layout layout, const Dropout& dropout)
      : dy(T, D, layout), db(1, D), asked{dropout, dy.view(), {db.view().data}} {
    dy.fill(9), db.fill(0.25);
  }

  // dy is that of dx bit by bit; its column sums are in db or left to others, as `added` says.
  void expect_of(const Guarded<float>& dx, const std::string& what) const {
    std::vector<double> sums(static_cast<size_t>(dx.cols()), 0.25);
    for (int64_t t = 0; t < dx.rows(); ++t)
      for (int64_t d = 0; d < dx.cols(); ++d) {
        const auto expected = static_cast<operand>(dx(t, d) * asked.dropout.scale(t, d, dx.cols()));
        ASSERT_EQ(static_cast<float>(dy(t, d)), static_cast<float>(expected)) << what << " [" << t << ", " << d << "]";
        if (asked.bias.added) sums[static_cast<size_t>(d)] += static_cast<double>(static_cast<float>(expected));
      }
    expect_close(db, sums, asked.bias.added ? 64 * 0x1p-24 : 0.0, what + " column sums");
    dy.expect_guards_intact(what), db.expect_guards_intact(what);
  }

  Guarded<operand> dy;
  Guarded<float> db;
  RoundedGradient<P> asked;
};

// Nothing dropped, with the weight of a branch; and dropped.
inline const Dropout kRoundedDropouts[] = {{.multiplier = 0.375f},
                                           {.probability = 0.3f, .key = 5, .first_row = 7, .multiplier = 0.75f}};

}  // namespace troupe::test
