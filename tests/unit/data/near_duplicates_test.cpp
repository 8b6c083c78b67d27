// MinHash against exact similarity on constructed texts.
#include "data/corpus/near_duplicates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/rng.h"
#include "data/corpus/ngrams.h"

namespace troupe::corpus {
namespace {

using testing::Optional;

std::vector<uint64_t> random_words(uint64_t seed, size_t count) {
  Rng rng(seed);
  std::vector<uint64_t> words(count);
  for (uint64_t& word : words) word = rng.next_u64();
  return words;
}

TEST(Ngrams, IgnoreCasePunctuationAndLayout) {
  EXPECT_EQ(word_hashes("The cat,  sat!\n"), word_hashes("the CAT sat"));
  EXPECT_NE(word_hashes("the cat sat"), word_hashes("the cats at"));
  EXPECT_EQ(word_hashes("caf\xC3\xA9 2").size(), 2u);
  EXPECT_TRUE(word_hashes(" ,.;\n").empty());
}

TEST(Ngrams, AreOnePerPosition) {
  const auto words = word_hashes("a b a b a b");
  const auto pairs = ngram_hashes(words, 2);
  ASSERT_EQ(pairs.size(), 5u);
  EXPECT_EQ(pairs[0], pairs[2]);
  EXPECT_NE(pairs[0], pairs[1]);
  EXPECT_TRUE(ngram_hashes(words, 7).empty());
  EXPECT_EQ(ngram_hashes(words, 6).size(), 1u);
  EXPECT_TRUE(ngram_hashes(words, 0).empty());
}

TEST(SharedHashes, MarkWhatTwoDocumentsHave) {
  SharedHashes set(4);
  set.insert(7, 0);
  set.insert(7, 0);
  EXPECT_FALSE(set.marked(7));
  set.insert(7, 1);
  EXPECT_TRUE(set.marked(7));
  set.insert(8, 1);
  set.mark(9);
  EXPECT_FALSE(set.marked(8));
  EXPECT_FALSE(set.marked(9));
  set.mark(8);
  EXPECT_TRUE(set.marked(8));
  set.insert(0, 2);  // 0 marks empty places inside
  set.mark(0);
  EXPECT_TRUE(set.marked(0));
}

TEST(Shingles, GiveTheExactJaccardSimilarity) {
  // 104 words have 100 shingles; 10 new words at the end share all but those that reach into them.
  std::vector<uint64_t> a = random_words(1, 104);
  std::vector<uint64_t> b(a.begin(), a.begin() + 54);
  EXPECT_DOUBLE_EQ(jaccard(shingle(a), shingle(a)), 1.0);
  EXPECT_DOUBLE_EQ(jaccard(shingle(a), shingle(b)), 0.5);
  EXPECT_DOUBLE_EQ(jaccard(shingle(a), shingle(random_words(2, 104))), 0.0);
  EXPECT_DOUBLE_EQ(jaccard(shingle({}), shingle({})), 0.0);
  EXPECT_EQ(shingle(random_words(3, 3)).set.size(), 1u);
}

TEST(Shingles, AgreeInSignatureAsOftenAsTheyAreSimilar) {
  std::vector<uint64_t> a = random_words(5, 1004);
  for (const size_t common : {200u, 500u, 800u}) {  // of 1000 shingles: similarity common / 1000
    const Shingles whole = shingle(a), part = shingle(std::vector<uint64_t>(a.begin(), a.begin() + common + 4));
    int equal = 0;
    for (size_t i = 0; i < whole.signature.size(); ++i) equal += whole.signature[i] == part.signature[i];
    // Binomial with 128 draws: three standard deviations are at most 0.133.
    EXPECT_NEAR(equal / 128.0, static_cast<double>(common) / 1000.0, 0.133);
  }
}

TEST(NearDuplicateIndex, FindsEveryPairAboveTheThresholdAndNoneBelow) {
  NearDuplicateIndex index(0.8);
  std::vector<std::vector<uint64_t>> originals;
  for (uint64_t i = 0; i < 200; ++i) {
    originals.push_back(random_words(100 + i, 204));
    ASSERT_EQ(index.find(shingle(originals.back())), std::nullopt);
    index.add(shingle(originals.back()));
  }
  for (size_t i = 0; i < originals.size(); ++i) {
    // A prefix with n shingles of 200 has similarity n / 200 to the whole.
    const auto prefix = [&](size_t shingles) {
      return shingle(
          std::vector<uint64_t>(originals[i].begin(), originals[i].begin() + static_cast<int64_t>(shingles) + 4));
    };
    EXPECT_THAT(index.find(prefix(160)), Optional(i));
    EXPECT_EQ(index.find(prefix(159)), std::nullopt);
  }
}

TEST(NearDuplicateIndex, TakesNoEmptyDocumentForADuplicate) {
  NearDuplicateIndex index;
  index.add(shingle({}));
  EXPECT_EQ(index.find(shingle({})), std::nullopt);
}

}  // namespace
}  // namespace troupe::corpus
