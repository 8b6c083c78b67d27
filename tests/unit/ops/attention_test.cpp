#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

constexpr AttentionHeads kOneHead = {.H = 1, .G = 1, .C = 1};

// Column n of three.
template <class T>
Matrix<T> column(T* data, int64_t rows, int64_t n) {
  return {data + n, rows, 1, 3};
}

// One head, C = 1, scale 1: by hand p = softmax([0], [0, ln 3]) = {1}, {1/4, 3/4}.
TEST(Attention, IsACausalAverageOfValues) {
  const AttentionShape shape{.B = 1, .S = 2, .heads = kOneHead, .key_valid = {}, .dropout = {}};
  const std::vector<double> qkv = {1, 0, 10, 1, std::log(3.0), 20};
  std::vector<double> ctx(2), lse(2);
  run(AttentionForward<F64>{shape, column(qkv.data(), 2, 0), column(qkv.data(), 2, 1), column(qkv.data(), 2, 2),
                            {ctx.data(), 2, 1}, lse});
  EXPECT_DOUBLE_EQ(ctx[0], 10.0);
  EXPECT_DOUBLE_EQ(ctx[1], 17.5);
  EXPECT_DOUBLE_EQ(lse[0], 0.0);
  EXPECT_DOUBLE_EQ(lse[1], std::log(4.0));
}

// Two query heads on one head of keys and values: each its own average of the same values.
TEST(Attention, QueryHeadsShareKeysAndValues) {
  const AttentionShape shape{.B = 1, .S = 2, .heads = {.H = 2, .G = 1, .C = 1}, .key_valid = {}, .dropout = {}};
  const std::vector<double> q = {0, 0, 1, -1}, k = {0, std::log(3.0)}, v = {10, 20};
  std::vector<double> ctx(4), lse(4);
  run(AttentionForward<F64>{shape, {q.data(), 2, 2}, {k.data(), 2, 1}, {v.data(), 2, 1}, {ctx.data(), 2, 2}, lse});
  EXPECT_DOUBLE_EQ(ctx[2], 17.5);
  EXPECT_DOUBLE_EQ(ctx[3], 12.5);
}

// Equal logits: the mean of the values in sight.
TEST(Attention, AWindowHidesEarlierKeys) {
  AttentionShape shape{.B = 1, .S = 4, .heads = kOneHead, .key_valid = {}, .dropout = {}};
  shape.heads.window = 2;
  const std::vector<double> qkv = {0, 0, 1, 0, 0, 2, 0, 0, 4, 0, 0, 8};
  std::vector<double> ctx(4), lse(4);
  run(AttentionForward<F64>{shape, column(qkv.data(), 4, 0), column(qkv.data(), 4, 1), column(qkv.data(), 4, 2),
                            {ctx.data(), 4, 1}, lse});
  EXPECT_EQ(ctx, (std::vector<double>{1, 1.5, 3, 6}));
}

TEST(Attention, GivesAZeroContextToAQueryWithoutValidKeys) {
  const std::vector<uint8_t> key_valid = {0, 1, 0};
  const AttentionShape shape{.B = 1, .S = 3, .heads = kOneHead, .key_valid = key_valid, .dropout = {}};
  const std::vector<double> qkv = {1, 2, 3, 4, 5, 6, 7, 8, 9}, dctx = {1, 1, 1};
  std::vector<double> ctx(3, 7.0), lse(3), dqkv(9, 7.0);
  const auto part = [&](int64_t n) { return column(qkv.data(), 3, n); };
  run(AttentionForward<F64>{shape, part(0), part(1), part(2), {ctx.data(), 3, 1}, lse});
  EXPECT_EQ(ctx, (std::vector<double>{0, 6, 6}));
  EXPECT_EQ(lse[0], -std::numeric_limits<double>::infinity());
  run(AttentionBackward<F64>{shape, part(0), part(1), part(2), {ctx.data(), 3, 1}, lse, {dctx.data(), 3, 1},
                             column(dqkv.data(), 3, 0), column(dqkv.data(), 3, 1), column(dqkv.data(), 3, 2)});
  EXPECT_EQ(dqkv, (std::vector<double>{0, 0, 0, 0, 0, 2, 0, 0, 0}));
}

// Decoding position by position, with and without a shared prefix, gives what the whole sequence gives.
TEST(Attention, DecodesWhatTheWholeSequenceGives) {
  constexpr int64_t S = 11, H = 2, C = 4, D = H * C;
  const AttentionHeads heads = {.H = H, .G = H, .C = C, .scale = 0.5};
  const AttentionShape shape{.B = 1, .S = S, .heads = heads, .key_valid = {}, .dropout = {}};
  const auto qkv = test::normal_values(S * 3 * D, 1);
  std::vector<double> ctx(S * D), lse(H * S), decoded(S * D);
  const auto part = [&](int64_t third, int64_t begin, int64_t count) {
    return Matrix<const double>(qkv.data() + begin * 3 * D + third * D, count, D, 3 * D);
  };
  run(AttentionForward<F64>{shape, part(0, 0, S), part(1, 0, S), part(2, 0, S), {ctx.data(), S, D}, lse});
  for (const int64_t shared : {0, 4})
    for (const int64_t step : {1, 3}) {
      std::fill(decoded.begin(), decoded.end(), 0.0);
      for (int64_t begin = shared; begin < S; begin += step) {
        const int64_t end = std::min(S, begin + step);
        const KvSegment<double> past[] = {{part(1, 0, shared), part(2, 0, shared)},
                                          {part(1, shared, end - shared), part(2, shared, end - shared)}};
        const DecodeSequence<F64> sequence{
            part(0, begin, end - begin), past, {decoded.data() + begin * D, end - begin, D}};
        run(AttentionDecode<F64>{heads, {&sequence, 1}});
      }
      for (int64_t i = shared * D; i < S * D; ++i) ASSERT_NEAR(decoded[i], ctx[i], 1e-14) << i;
    }
}

}  // namespace
}  // namespace troupe
