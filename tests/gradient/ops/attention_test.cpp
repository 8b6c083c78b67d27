#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

struct Case {
  int64_t B, S, H, C;
  float dropout;
  bool padded;
};

class AttentionGradient : public testing::TestWithParam<Case> {};

TEST_P(AttentionGradient, MatchesCentralDifferences) {
  const auto [B, S, H, C, dropout, padded] = GetParam();
  const int64_t T = B * S, D = H * C;
  AttentionShape shape{.B = B, .S = S, .H = H, .C = C, .scale = 1.0 / std::sqrt(C), .key_valid = {}, .dropout = {}};
  shape.dropout = {.probability = dropout, .key = 42, .first_row = 5};
  std::vector<uint8_t> key_valid(static_cast<size_t>(T), 1);
  if (padded) {
    for (int64_t i = 0; i < T; i += 3) key_valid[static_cast<size_t>(i)] = 0;
    shape.key_valid = key_valid;
  }
  auto qkv = test::normal_values(T * 3 * D, 1);
  const auto dctx = test::normal_values(T * D, 2);
  std::vector<double> ctx(T * D), lse(B * H * S), dqkv(T * 3 * D);
  const auto loss = [&] {
    run(AttentionForward<F64>{shape, {qkv.data(), T, 3 * D}, {ctx.data(), T, D}, lse});
    return test::dot(dctx, ctx);
  };
  loss();
  run(AttentionBackward<F64>{
      shape, {qkv.data(), T, 3 * D}, {ctx.data(), T, D}, lse, {dctx.data(), T, D}, {dqkv.data(), T, 3 * D}});
  test::expect_gradient(loss, qkv, dqkv);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionGradient,
                         testing::Values(Case{1, 1, 1, 2, 0, false}, Case{2, 5, 3, 4, 0, false},
                                         Case{1, 9, 2, 3, 0, true}, Case{2, 6, 1, 4, 0.3f, false},
                                         Case{2, 7, 2, 2, 0.2f, true}));

}  // namespace
}  // namespace troupe
