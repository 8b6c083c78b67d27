// A made-up map between (token, choice) and rows: scattered, and some choices have no row.
#pragma once

#include <cstdint>
#include <vector>

namespace troupe::test {

struct MoeRowsMap {
  std::vector<int32_t> row_of_TK, source_of_R;

  MoeRowsMap(int64_t T, int64_t K) : row_of_TK(static_cast<size_t>(T * K), -1) {
    // Rows in an order in which neighbouring tokens lie apart, as experts sort them; every fourth choice is dropped.
    constexpr int64_t kExperts = 3;
    for (int64_t expert = 0; expert < kExperts; ++expert)
      for (int64_t i = 0; i < T * K; ++i) {
        if (i * 7 % kExperts != expert || i % 4 == 3) continue;
        row_of_TK[static_cast<size_t>(i)] = static_cast<int32_t>(source_of_R.size());
        source_of_R.push_back(static_cast<int32_t>(i));
      }
  }
  int64_t R() const { return static_cast<int64_t>(source_of_R.size()); }
};

}  // namespace troupe::test
