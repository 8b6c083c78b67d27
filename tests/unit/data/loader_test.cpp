// Blocks, permutation, mixture and loader: every block once per epoch, shares respected, any step computed directly.
#include "data/loader/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "data/loader/permutation.h"
#include "error_of.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

constexpr int32_t kEnd = 1;

// Token number i of the stream has id 2 + i, so that a batch shows where it came from; `documents` documents.
std::shared_ptr<const TokenDataset> numbered(const std::filesystem::path& folder, int64_t tokens, int64_t documents,
                                             int64_t vocab_size = 1 << 20, int32_t offset = 2) {
  DatasetWriter writer(folder, {.size = vocab_size, .end_of_text = kEnd, .tokenizer = 5}, 100);
  for (int64_t d = 0; d < documents; ++d) {
    const int64_t begin = tokens * d / documents, end = tokens * (d + 1) / documents;
    std::vector<int32_t> ids(static_cast<size_t>(end - begin - 1));  // its last token is end-of-text
    std::iota(ids.begin(), ids.end(), static_cast<int32_t>(begin) + offset);
    writer.add(ids, end - begin);
  }
  writer.finish();
  return std::make_shared<const TokenDataset>(folder);
}

TEST(Permutation, IsAPermutationAndDependsOnTheKey) {
  for (const uint64_t n : {1u, 2u, 3u, 4u, 5u, 16u, 17u, 1000u, 4096u, 4097u}) {
    std::set<uint64_t> images;
    for (uint64_t i = 0; i < n; ++i) images.insert(Permutation(42, n)(i));
    EXPECT_EQ(images.size(), n);
    EXPECT_EQ(*images.rbegin(), n - 1);
  }
  int same = 0, fixed = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    same += Permutation(1, 1000)(i) == Permutation(2, 1000)(i);
    fixed += Permutation(1, 1000)(i) == i;
  }
  EXPECT_LT(same, 12);  // 1 expected
  EXPECT_LT(fixed, 12);
}

TEST(Blocks, FollowTheTextWithoutBreaks) {
  const TemporaryFolder folder;
  const auto data = numbered(folder / "a", 10, 2);  // 2 3 4 5 E | 7 8 9 10 E
  const Batch batch = Blocks(*data, 4).batch(0, 3);
  EXPECT_EQ(batch.src, (std::vector<int32_t>{kEnd, 2, 3, 4, 5, kEnd, 7, 8, 9, 10, kEnd, kEnd}));
  EXPECT_EQ(batch.tgt, (std::vector<int32_t>{2, 3, 4, 5, kEnd, 7, 8, 9, 10, kEnd, -1, -1}));
  EXPECT_EQ(Blocks(*data, 4, 5).size(), 2);  // the first document alone
  EXPECT_EQ(Blocks(*data, 4, 5).batch(1, 1).tgt, (std::vector<int32_t>{kEnd, -1, -1, -1}));
}

TEST(Mixture, DirectStateEqualsSteppedState) {
  for (const auto& weights : std::vector<std::vector<double>>{
           {1}, {1, 1}, {1, 1, 1, 1, 1, 1, 1}, {0.7, 0.2, 0.1}, {1e-6, 1, 3}, {5, 3, 1e-3, 0.5, 0.5}}) {
    const Mixture mixture(weights);
    Mixture::State stepped = mixture.after(0);
    for (int64_t g = 0; g < 3000; ++g) {
      EXPECT_EQ(mixture.after(g).count(), stepped.count()) << g;
      for (size_t j = 0; j < weights.size(); ++j)
        EXPECT_NEAR(static_cast<double>(stepped.count()[j]), mixture.share(j) * static_cast<double>(g),
                    0.5 + 0.5 * static_cast<double>(weights.size()));
      stepped.next();
    }
    Mixture::State far = mixture.after(1'000'000'000);
    far.next();
    EXPECT_EQ(far.count(), mixture.after(1'000'000'001).count());
    EXPECT_EQ(std::accumulate(far.count().begin(), far.count().end(), int64_t{0}), 1'000'000'001);
  }
}

TEST(Loader, ReadsEveryTokenOncePerEpochInANewOrder) {
  const TemporaryFolder folder;
  const auto data = numbered(folder / "a", 1003, 7);
  const Loader loader({{"a", data}}, 9, 3, 8);
  ASSERT_EQ(loader.use(126).front().epochs, 3.0);  // of 3 sequences a step: an epoch is 125 full blocks and one of 3
  std::vector<std::vector<int32_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::multiset<int32_t> seen;
    std::vector<int32_t> order;
    for (int64_t step = 0; step < 42; ++step) {
      const Batch batch = loader.batch(epoch * 42 + step);
      for (size_t i = 0; i < batch.tgt.size(); ++i) {
        if (batch.tgt[i] >= 0) seen.insert(batch.tgt[i]);
        if (i % 8 == 0) order.push_back(batch.tgt[i]);
      }
    }
    EXPECT_EQ(seen.size(), 1003u);
    EXPECT_EQ(seen.count(kEnd), 7u);
    EXPECT_EQ(std::set<int32_t>(seen.begin(), seen.end()).size(), 1003u - 7 + 1);
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST(Loader, MixtureInProportionToSizeIsOneEpochOfEach) {
  const TemporaryFolder folder;
  const Loader loader({{"a", numbered(folder / "a", 400, 3)},
                       {"b", numbered(folder / "b", 1200, 3)},
                       {"c", numbered(folder / "c", 77, 3)}},
                      1, 1, 10);
  for (const Loader::Use& use : loader.use(40 + 120 + 8)) EXPECT_DOUBLE_EQ(use.epochs, 1.0) << use.name;
}

TEST(Loader, RespectsWeights) {
  const TemporaryFolder folder;
  const Loader loader(
      {{"a", numbered(folder / "a", 400, 3), 3.0}, {"b", numbered(folder / "b", 1200, 3, 1 << 20, 100000), 1.0}}, 1, 8,
      10);
  int64_t from_b = 0;
  for (int64_t step = 0; step < 100; ++step) {
    const Batch batch = loader.batch(step);
    for (int64_t row = 0; row < 8; ++row)
      from_b +=
          batch.tgt[static_cast<size_t>(row * 10 + 1)] >= 100000 || batch.tgt[static_cast<size_t>(row * 10)] >= 100000;
  }
  EXPECT_NEAR(static_cast<double>(from_b), 200.0, 2.0);
  EXPECT_EQ(loader.use(100)[0].sequences, 600);
}

TEST(Loader, ABatchDependsOnSeedAndStepAlone) {
  const TemporaryFolder folder;
  const auto a = numbered(folder / "a", 500, 3), b = numbered(folder / "b", 700, 3);
  const Loader loader({{"a", a}, {"b", b}}, 5, 6, 16), again({{"a", a}, {"b", b}}, 5, 6, 16),
      other({{"a", a}, {"b", b}}, 6, 6, 16);
  for (const int64_t step : {31, 7, 0, 100}) {
    const Batch whole = loader.batch(step);
    EXPECT_EQ(whole.src, again.batch(step).src);
    EXPECT_NE(whole.src, other.batch(step).src);
    std::vector<int32_t> parts;
    for (int64_t first = 0; first < 6; first += 2) {
      const Batch part = loader.batch(step, first, 2);
      EXPECT_EQ(part.first_sequence, first);
      parts.insert(parts.end(), part.tgt.begin(), part.tgt.end());
    }
    EXPECT_EQ(parts, whole.tgt);
  }
}

TEST(Loader, RefusesWhatDoesNotFitTogether) {
  const TemporaryFolder folder;
  const auto a = numbered(folder / "a", 50, 3), b = numbered(folder / "b", 70, 3, 500);
  EXPECT_THAT(error_of([&] { Loader({}, 0, 1, 4); }, ErrorCode::kUsage), HasSubstr("expected at least one dataset"));
  EXPECT_THAT(error_of([&] { Loader({{"a", a}, {"a", a}}, 0, 1, 4); }, ErrorCode::kUsage), HasSubstr("got a twice"));
  EXPECT_THAT(error_of(
                  [&] {
                    Loader({{"a", a, 1.0}, {"c", a}}, 0, 1, 4);
                  },
                  ErrorCode::kUsage),
              HasSubstr("got none for c"));
  EXPECT_THAT(error_of(
                  [&] {
                    Loader({{"a", a, -1.0}}, 0, 1, 4);
                  },
                  ErrorCode::kUsage),
              HasSubstr("expected a number >= 0, got -1"));
  EXPECT_THAT(error_of([&] { Loader({{"a", a}, {"b", b}}, 0, 1, 4); }), HasSubstr("expected the tokenizer of"));
}

}  // namespace
}  // namespace troupe
