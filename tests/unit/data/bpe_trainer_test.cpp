#include "data/tokenizer/bpe_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <map>

#include "base/rng.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/merge_learner.h"
#include "error_of.h"

namespace troupe {
namespace {

using testing::ElementsAre;
using Names = std::vector<std::string>;

Names merges_of(const Tokenizer& tokenizer) {
  Names names;
  for (const Merge& merge : tokenizer.definition().merges)
    names.push_back(tokenizer.token_bytes(merge.left) + "+" + tokenizer.token_bytes(merge.right));
  return names;
}

Tokenizer train(std::string_view text, int64_t vocab_size, int64_t min_count = 2) {
  BpeTrainer trainer({.vocab_size = vocab_size, .min_count = min_count});
  trainer.add(text);
  return trainer.finish();
}

TEST(BpeTrainer, NumbersEndOfTextThenBytesThenMerges) {
  const Tokenizer tokenizer = train("abab abab", 259);
  EXPECT_EQ(tokenizer.end_of_text(), 0);
  EXPECT_EQ(tokenizer.token_bytes(0), "<|endoftext|>");
  for (int32_t i = 0; i < 256; ++i)
    EXPECT_EQ(tokenizer.token_bytes(1 + i),
              std::string(1, static_cast<char>(byte_alphabet_order()[static_cast<size_t>(i)])));
  EXPECT_EQ(tokenizer.token_bytes(257), "ab");
  EXPECT_EQ(tokenizer.token_bytes(258), "abab");
  EXPECT_EQ(tokenizer.vocab_size(), 259);
}

TEST(BpeTrainer, TakesTheSmallestIdsAmongEquals) {
  // Each pair occurs twice. In the byte alphabet the space comes last.
  EXPECT_THAT(merges_of(train("zy ba\nzy ba", 260)), ElementsAre("b+a", "z+y", " +ba"));
}

TEST(BpeTrainer, CountsOverlaps) {
  // "aaa" holds two pairs, so a+a (4) comes before b+c (3).
  EXPECT_THAT(merges_of(train("aaa\naaa\nbc\nbc\nbc", 259)), ElementsAre("a+a", "b+c"));
}

TEST(BpeTrainer, StopsWhenNoPairIsFrequentEnough) {
  const Tokenizer tokenizer = train("abc ab", 1000);
  EXPECT_THAT(merges_of(tokenizer), ElementsAre("a+b"));
  EXPECT_EQ(tokenizer.vocab_size(), 258);
  EXPECT_EQ(merges_of(train("abc ab", 1000, 1)).size(), 3u);
  EXPECT_EQ(train("", 1000).vocab_size(), 257);
}

TEST(BpeTrainer, RefusesImpossibleSizes) {
  EXPECT_EQ(test::error_of([] { BpeTrainer trainer({.vocab_size = 256}); }, ErrorCode::kUsage),
            "vocab_size: expected 257 (end of text and 256 bytes) to 16777216, got 256");
}

std::string random_words(uint64_t seed, size_t bytes) {
  Rng rng(seed);
  std::string text;
  while (text.size() < bytes) {
    const uint64_t size = 1 + rng.below(9);
    text += " \n"[rng.below(20) == 0];
    for (uint64_t i = 0; i < size; ++i) text += "aaabbcdé\xff"[rng.below(10)];
  }
  return text;
}

TEST(BpeTrainer, DoesNotDependOnThreadsOrOrder) {
  std::vector<std::string> texts;
  for (uint64_t i = 0; i < 6; ++i) texts.push_back(random_words(i, 400000));  // several pieces each
  const auto run = [&](int threads, bool reversed) {
    omp_set_num_threads(threads);
    BpeTrainer trainer({.vocab_size = 700});
    for (size_t i = 0; i < texts.size(); ++i) trainer.add(texts[reversed ? texts.size() - 1 - i : i]);
    const Tokenizer tokenizer = trainer.finish();
    EXPECT_EQ(trainer.stats().texts, 6);
    return tokenizer_json(tokenizer.definition());
  };
  const int before = omp_get_max_threads();
  const std::string one = run(1, false);
  EXPECT_EQ(run(2, false), one);
  EXPECT_EQ(run(7, true), one);
  omp_set_num_threads(before);
}

TEST(BpeTrainer, CountsTheWordsOfALongTextAsIfItWereOnePiece) {
  Rng rng(4);
  std::string text;
  while (text.size() < 4 << 20)
    text += std::vector<std::string>{" ", "  ", "\n\n", "a", "'ll", "é", "\u00a0", "!"}[rng.below(8)];
  const WordSplitter splitter(kGpt2Pattern, "test");
  WordSplitter::Matcher matcher(splitter);
  WordCounts counts;
  int64_t words = 0;
  matcher.split(text, [&](std::string_view word) {
    counts.add(word);
    ++words;
  });
  BpeTrainer trainer({.vocab_size = 257});
  trainer.add(text);
  trainer.finish();
  EXPECT_EQ(trainer.stats().words, words);
  EXPECT_EQ(trainer.stats().distinct_words, static_cast<int64_t>(counts.size()));
}

TEST(BpeTrainer, RoundTripsWhatItLearned) {
  const std::string text = random_words(9, 50000);
  const Tokenizer tokenizer = train(text, 500);
  const std::vector<int32_t> ids = tokenizer.encode(text);
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_LT(ids.size(), text.size() * 2 / 3);
}

// The definition, word by word: count all pairs anew before each merge.
Names merges_by_definition(const std::vector<std::string>& words, size_t count) {
  std::map<std::string, int> rank;  // of symbols, in the order in which they were made
  std::vector<Names> texts;
  for (const uint8_t byte : byte_alphabet_order()) rank.emplace(std::string(1, static_cast<char>(byte)), rank.size());
  for (const std::string& word : words) {
    texts.emplace_back();
    for (const char byte : word) texts.back().emplace_back(1, byte);
  }
  Names merges;
  while (merges.size() < count) {
    std::map<std::pair<std::string, std::string>, int> counts;
    for (const Names& text : texts)
      for (size_t i = 0; i + 1 < text.size(); ++i) ++counts[{text[i], text[i + 1]}];
    std::pair<std::string, std::string> best;
    int most = 1;
    for (const auto& [pair, times] : counts) {
      const bool first =
          most > 1 && times == most &&
          std::pair(rank[pair.first], rank[pair.second]) < std::pair(rank[best.first], rank[best.second]);
      if (times > most || first) best = pair, most = times;
    }
    if (most == 1) break;
    rank.emplace(best.first + best.second, rank.size());
    merges.push_back(best.first + "+" + best.second);
    for (Names& text : texts)
      for (size_t i = 0; i + 1 < text.size(); ++i)
        if (text[i] == best.first && text[i + 1] == best.second) {
          text[i] += text[i + 1];
          text.erase(text.begin() + static_cast<int64_t>(i) + 1);
        }
  }
  return merges;
}

TEST(MergeLearner, FollowsTheDefinition) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed);
    std::vector<std::string> words;
    WordCounts counts;
    for (int i = 0; i < 60; ++i) {
      std::string word;
      for (uint64_t size = 1 + rng.below(12); size > 0; --size) word += "abc"[rng.below(seed % 3 + 1)];
      words.push_back(word);
      counts.add(word);
    }
    const Names expected = merges_by_definition(words, 60);
    Names got;
    std::vector<std::string> symbols;
    std::map<std::string, int> known;
    for (const uint8_t byte : byte_alphabet_order()) symbols.emplace_back(1, static_cast<char>(byte));
    for (const auto& [left, right] : learn_merges(counts, 100000, 2)) {
      const std::string &l = symbols[static_cast<size_t>(left)], &r = symbols[static_cast<size_t>(right)];
      got.push_back(l + "+" + r);
      if (known.emplace(l + r, 0).second) symbols.push_back(l + r);
    }
    got.resize(std::min<size_t>(got.size(), 60));
    ASSERT_EQ(got, expected) << seed;
  }
}

}  // namespace
}  // namespace troupe
