#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

// One head, C = 1, scale 1: by hand p = softmax([0], [0, ln 3]) = {1}, {1/4, 3/4}.
TEST(Attention, IsACausalAverageOfValues) {
  const AttentionShape shape{.B = 1, .S = 2, .H = 1, .C = 1, .scale = 1.0, .key_valid = {}, .dropout = {}};
  const std::vector<double> qkv = {1, 0, 10, 1, std::log(3.0), 20};
  std::vector<double> ctx(2), lse(2);
  run(AttentionForward<F64>{shape, {qkv.data(), 2, 3}, {ctx.data(), 2, 1}, lse});
  EXPECT_DOUBLE_EQ(ctx[0], 10.0);
  EXPECT_DOUBLE_EQ(ctx[1], 17.5);
  EXPECT_DOUBLE_EQ(lse[0], 0.0);
  EXPECT_DOUBLE_EQ(lse[1], std::log(4.0));
}

TEST(Attention, GivesAZeroContextToAQueryWithoutValidKeys) {
  const std::vector<uint8_t> key_valid = {0, 1, 0};
  const AttentionShape shape{.B = 1, .S = 3, .H = 1, .C = 1, .scale = 1.0, .key_valid = key_valid, .dropout = {}};
  const std::vector<double> qkv = {1, 2, 3, 4, 5, 6, 7, 8, 9}, dctx = {1, 1, 1};
  std::vector<double> ctx(3, 7.0), lse(3), dqkv(9, 7.0);
  run(AttentionForward<F64>{shape, {qkv.data(), 3, 3}, {ctx.data(), 3, 1}, lse});
  EXPECT_EQ(ctx, (std::vector<double>{0, 6, 6}));
  EXPECT_EQ(lse[0], -std::numeric_limits<double>::infinity());
  run(AttentionBackward<F64>{
      shape, {qkv.data(), 3, 3}, {ctx.data(), 3, 1}, lse, {dctx.data(), 3, 1}, {dqkv.data(), 3, 3}});
  EXPECT_EQ(dqkv, (std::vector<double>{0, 0, 0, 0, 0, 2, 0, 0, 0}));
}

// Decoding position by position, with and without a shared prefix, gives what the whole sequence gives.
TEST(Attention, DecodesWhatTheWholeSequenceGives) {
  constexpr int64_t S = 11, H = 2, C = 4, D = H * C;
  const AttentionShape shape{.B = 1, .S = S, .H = H, .C = C, .scale = 0.5, .key_valid = {}, .dropout = {}};
  const auto qkv = test::normal_values(S * 3 * D, 1);
  std::vector<double> ctx(S * D), lse(H * S), decoded(S * D);
  run(AttentionForward<F64>{shape, {qkv.data(), S, 3 * D}, {ctx.data(), S, D}, lse});
  const auto part = [&](int64_t third, int64_t begin, int64_t count) {
    return Matrix<const double>(qkv.data() + begin * 3 * D + third * D, count, D, 3 * D);
  };
  for (const int64_t shared : {0, 4})
    for (const int64_t step : {1, 3}) {
      std::fill(decoded.begin(), decoded.end(), 0.0);
      for (int64_t begin = shared; begin < S; begin += step) {
        const int64_t end = std::min(S, begin + step);
        DecodeSequence<F64> sequence;
        sequence.q_ND = part(0, begin, end - begin);
        sequence.shared_k_LD = part(1, 0, shared), sequence.shared_v_LD = part(2, 0, shared);
        sequence.k_LD = part(1, shared, end - shared), sequence.v_LD = part(2, shared, end - shared);
        sequence.ctx_ND = {decoded.data() + begin * D, end - begin, D};
        run(AttentionDecode<F64>{H, 0.5, {&sequence, 1}});
      }
      for (int64_t i = shared * D; i < S * D; ++i) ASSERT_NEAR(decoded[i], ctx[i], 1e-14) << i;
    }
}

}  // namespace
}  // namespace troupe
