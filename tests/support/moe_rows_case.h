// Made-up rows of tokens: scattered, and some choices have no row.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/route/routed.h"

namespace troupe::test {

template <class real>
struct MoeRowsMap {
  Routed<real> rows;  // weights are 0 until they are set
  std::vector<real> weight;

  MoeRowsMap(int64_t T, int64_t K) : row_of_TK_(static_cast<size_t>(T * K), -1) {
    // Rows in an order in which neighbouring tokens lie apart, as experts sort them; every fourth choice is dropped.
    constexpr int64_t kExperts = 3;
    rows.offsets.push_back(0);
    for (int64_t expert = 0; expert < kExperts; ++expert) {
      for (int64_t i = 0; i < T * K; ++i) {
        if (i * 7 % kExperts != expert || i % 4 == 3) continue;
        row_of_TK_[static_cast<size_t>(i)] = static_cast<int32_t>(token_.size());
        token_.push_back(static_cast<int32_t>(i / K)), choice_.push_back(static_cast<int32_t>(i % K));
      }
      rows.offsets.push_back(R());
    }
    begin_.push_back(0);
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t i = t * K; i < (t + 1) * K; ++i)
        if (row_of_TK_[static_cast<size_t>(i)] >= 0) by_token_.push_back(row_of_TK_[static_cast<size_t>(i)]);
      begin_.push_back(static_cast<int32_t>(by_token_.size()));
    }
    weight.resize(token_.size());
    rows.token_of_R = token_, rows.choice_of_R = choice_, rows.weight_R = weight;
    rows.rows_by_token = by_token_, rows.begin_T = begin_, rows.num_choices = K;
  }
  MoeRowsMap(const MoeRowsMap&) = delete;
  MoeRowsMap& operator=(const MoeRowsMap&) = delete;
  int64_t R() const { return static_cast<int64_t>(token_.size()); }

 private:
  std::vector<int32_t> row_of_TK_, token_, choice_, by_token_, begin_;
};

}  // namespace troupe::test
