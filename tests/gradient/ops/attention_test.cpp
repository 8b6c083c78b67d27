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
  int64_t G, window = 0, text = 0;
};

class AttentionGradient : public testing::TestWithParam<Case> {};

TEST_P(AttentionGradient, MatchesCentralDifferences) {
  const auto [B, S, H, C, dropout, padded, G, window, text] = GetParam();
  const int64_t T = B * S, D = H * C, W = G * C;
  AttentionShape shape{.B = B,
                       .S = S,
                       .heads = {.H = H, .G = G, .C = C, .scale = 1.0 / std::sqrt(C), .window = window},
                       .key_valid = {},
                       .dropout = {}};
  shape.dropout = {.probability = dropout, .key = 42, .first_row = 5};
  std::vector<uint8_t> key_valid(static_cast<size_t>(T), 1);
  if (padded) {
    for (int64_t i = 0; i < T; i += 3) key_valid[static_cast<size_t>(i)] = 0;
    shape.key_valid = key_valid;
  }
  std::vector<int32_t> key_end;
  for (int64_t t = 0; text > 0 && t < T; ++t)
    key_end.push_back(static_cast<int32_t>(std::min(S, (t % S / text + 1) * text)));
  shape.key_end = key_end;
  const int64_t width = D + 2 * W;  // a row of qkv: q, k, v
  auto qkv = test::normal_values(T * width, 1);
  const auto dctx = test::normal_values(T * D, 2);
  std::vector<double> ctx(T * D), lse(B * H * S), dqkv(T * width);
  const auto part = [&](std::vector<double>& rows, int64_t first, int64_t count) {
    return Matrix<double>(rows.data() + first, T, count, width);
  };
  const auto loss = [&] {
    run(AttentionForward<F64>{
        shape, part(qkv, 0, D), part(qkv, D, W), part(qkv, D + W, W), {ctx.data(), T, D}, lse});
    return test::dot(dctx, ctx);
  };
  loss();
  run(AttentionBackward<F64>{shape, part(qkv, 0, D), part(qkv, D, W), part(qkv, D + W, W), {ctx.data(), T, D}, lse,
                             {dctx.data(), T, D}, part(dqkv, 0, D), part(dqkv, D, W), part(dqkv, D + W, W)});
  test::expect_gradient(loss, qkv, dqkv);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionGradient,
                         testing::Values(Case{1, 1, 1, 2, 0, false, 1}, Case{2, 5, 3, 4, 0, false, 3},
                                         Case{1, 9, 2, 3, 0, true, 2}, Case{2, 6, 1, 4, 0.3f, false, 1},
                                         Case{2, 7, 2, 2, 0.2f, true, 2}, Case{2, 6, 4, 3, 0, false, 2},
                                         Case{1, 7, 3, 2, 0.2f, true, 1}, Case{2, 8, 2, 3, 0, false, 2, 3},
                                         Case{1, 9, 4, 2, 0.2f, true, 2, 4}, Case{1, 5, 1, 2, 0, false, 1, 1}, Case{2, 8, 2, 3, 0, true, 1, 0, 3},
                                         Case{1, 9, 2, 2, 0.2f, false, 2, 3, 4}));

}  // namespace
}  // namespace troupe
