// The fast ways of the tokenizer against the plain ones: scanner against PCRE2, both merge loops against the
// definition, cached against fresh.
#include "data/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "base/rng.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/word_splitter.h"

namespace troupe {
namespace {

std::string random_text(Rng& rng, const std::vector<std::string>& alphabet, size_t parts) {
  std::string text;
  for (size_t i = 0; i < parts; ++i) text += alphabet[rng.below(alphabet.size())];
  return text;
}

std::vector<std::string> words(WordSplitter::Matcher& matcher, std::string_view text) {
  std::vector<std::string> out;
  matcher.split(text, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}

TEST(AsciiScanner, CutsLikePcre2) {
  const WordSplitter splitter(kGpt2Pattern, "test");
  WordSplitter::Matcher fast(splitter), plain(splitter, false);
  std::vector<std::string> alphabet = {"'s",     "'t", "'re",    "'ve",  "'m",     "'ll",    "'d",
                                       "'",      "  ", " ",      "é",    "\u0301", "\u00a0", "\u0085",
                                       "\u180e", "½",  "\u3000", "\xff", "\xc3",   "Tom",    "42"};
  for (int byte = 0; byte < 128; ++byte) alphabet.emplace_back(1, static_cast<char>(byte));
  const std::vector<std::string> spaces = {" ", "\n", "\t", "\r", "a", "é", "\u2003", "'ll", "1"};
  Rng rng(1);
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_text(rng, i % 2 ? alphabet : spaces, 1 + static_cast<size_t>(i) % 30);
    const std::vector<std::string> cut = words(fast, text);
    ASSERT_EQ(cut, words(plain, text)) << testing::PrintToString(text);
    ASSERT_EQ(join(cut), text);
  }
}

// As the definition reads: look for the first merge in the list, join its leftmost place, start again.
std::vector<int32_t> merge_by_definition(std::string_view word,
                                         const std::map<std::pair<int32_t, int32_t>, size_t>& ranks,
                                         const std::vector<Merge>& merges) {
  std::vector<int32_t> ids;
  for (const char byte : word) ids.push_back(static_cast<uint8_t>(byte));
  for (;;) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i)
      if (const auto found = ranks.find({ids[i], ids[i + 1]}); found != ranks.end() && found->second < best)
        best = found->second, at = i;
    if (best == merges.size()) return ids;
    ids[at] = merges[best].result;
    ids.erase(ids.begin() + static_cast<int64_t>(at) + 1);
  }
}

TEST(Bpe, BothLoopsFollowTheDefinition) {
  Rng rng(2);
  for (int round = 0; round < 50; ++round) {
    // Random merges over three letters, with several ways to the same token and ranks that do not grow with length.
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::map<std::string, int32_t> ids = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}};
    std::vector<Merge> merges;
    std::map<std::pair<int32_t, int32_t>, size_t> ranks;
    for (int i = 0; i < 40; ++i) {
      const std::string &left = tokens[rng.below(tokens.size())], &right = tokens[rng.below(tokens.size())];
      const std::pair<int32_t, int32_t> pair = {ids[left], ids[right]};
      if (ranks.contains(pair)) continue;
      const std::string joined = left + right;
      if (ids.emplace(joined, static_cast<int32_t>(256 + tokens.size())).second) tokens.push_back(joined);
      merges.push_back({pair.first, pair.second, ids[joined]});
      ranks[pair] = 0;
    }
    for (size_t i = merges.size(); i > 1; --i) std::swap(merges[i - 1], merges[rng.below(i)]);
    for (size_t i = 0; i < merges.size(); ++i) ranks[{merges[i].left, merges[i].right}] = i;
    std::array<int32_t, 256> byte_ids{};
    for (int byte = 0; byte < 256; ++byte) byte_ids[static_cast<size_t>(byte)] = byte;
    const Bpe bpe(byte_ids, merges);
    for (int i = 0; i < 100; ++i) {
      const std::string word = random_text(rng, {"a", "b", "c", "d"}, 1 + rng.below(Bpe::kShortBytes));
      const std::vector<int32_t> expected = merge_by_definition(word, ranks, merges);
      std::vector<int32_t> short_ids, long_ids;
      bpe.encode_short(word, short_ids);
      bpe.encode_long(word, long_ids);
      ASSERT_EQ(short_ids, expected) << word;
      ASSERT_EQ(long_ids, expected) << word;
    }
  }
}

TEST(WordCache, ChangesNoResult) {
  // Words of every length up to beyond what the cache holds, at every distance from the end of the text.
  const Tokenizer warm = Tokenizer::load(TROUPE_TEST_DATA "/tokenizer/byte_level.json");
  Rng rng(3);
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i)
    texts.push_back(random_text(rng, {"the", "rain", "t", "r", " ", "o", "é"}, 1 + rng.below(12)));
  for (int pass = 0; pass < 2; ++pass)
    for (const std::string& text : texts) warm.encode(text);
  for (size_t i = 0; i < texts.size(); i += 10) {
    const Tokenizer cold = Tokenizer(warm.definition());
    ASSERT_EQ(warm.encode(texts[i]), cold.encode(texts[i])) << texts[i];
  }
}

}  // namespace
}  // namespace troupe
