#include "data/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/rng.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/word_splitter.h"
#include "error_of.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kData = TROUPE_TEST_DATA;

std::vector<std::string> words(std::string_view pattern, std::string_view text) {
  const WordSplitter splitter(pattern, "test");
  WordSplitter::Matcher matcher(splitter);
  std::vector<std::string> out;
  matcher.split(text, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

TEST(ByteAlphabet, HoldsEveryByteOnce) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    EXPECT_EQ(from_byte_alphabet(to_byte_alphabet(bytes)), bytes);
  }
  EXPECT_EQ(to_byte_alphabet(" the"), "Ġthe");
  EXPECT_EQ(byte_alphabet_order()[0], '!');
  EXPECT_EQ(byte_alphabet_order()[255], 0xAD);
  EXPECT_FALSE(from_byte_alphabet(" "));       // a space is written as U+0120
  EXPECT_FALSE(from_byte_alphabet("\u0144"));  // one beyond the last character
  EXPECT_FALSE(from_byte_alphabet("語"));
}

TEST(WordSplitter, CutsLikeGpt2) {
  EXPECT_THAT(words(kGpt2Pattern, "It's  1 day, they'll\n\nsay!"),
              ElementsAre("It", "'s", " ", " 1", " day", ",", " they", "'ll", "\n", "\n", "say", "!"));
  EXPECT_THAT(words(kGpt2Pattern, "a  \n"), ElementsAre("a", "  \n"));
}

TEST(WordSplitter, TakesUnicodeWhiteSpaceForSpace) {
  EXPECT_THAT(words(kGpt2Pattern, "a\u180eb"), ElementsAre("a", "\u180e", "b"));  // not White_Space: a sign
  EXPECT_THAT(words(kGpt2Pattern, "! \u180e!"), ElementsAre("!", " \u180e!"));    // ... that joins others
  EXPECT_THAT(words(kGpt2Pattern, "!\u0085\u00a0!"), ElementsAre("!", "\u0085", "\u00a0", "!"));  // White_Space
  EXPECT_THAT(words(kGpt2Pattern, "!\u001c!"), ElementsAre("!\u001c!"));  // Python calls it space
}

TEST(WordSplitter, TakesARunOfInvalidUtf8ForOneWord) {
  EXPECT_THAT(words(kGpt2Pattern, "ab\xff\xfe\x80 c"), ElementsAre("ab", "\xff\xfe\x80", " c"));
  EXPECT_THAT(words(kGpt2Pattern, "\xc3"), ElementsAre("\xc3"));                        // cut short
  EXPECT_THAT(words(kGpt2Pattern, "\xed\xa0\x80x"), ElementsAre("\xed\xa0\x80", "x"));  // a surrogate
  EXPECT_THAT(words(kGpt2Pattern, "a  \xff"), ElementsAre("a", "  ", "\xff"));  // a run ends like a text: no lookahead
}

TEST(WordSplitter, RefusesPatternsThatPcre2ReadsDifferently) {
  const auto error = [](std::string_view pattern) {
    return test::error_of([&] { WordSplitter splitter(pattern, "x.json: Regex"); });
  };
  EXPECT_THAT(error("\\w+"),
              HasSubstr("x.json: Regex: expected constructs that PCRE2 and Hugging Face read alike, got \\w"));
  EXPECT_THAT(error("a$"), HasSubstr("got $"));
  EXPECT_THAT(error("[a[b]]"), HasSubstr("a class inside a class"));
  EXPECT_THAT(error("[\\S]"), HasSubstr("\\S inside"));
  EXPECT_THAT(error("\\p{L"), HasSubstr("expected a regular expression, got an error at its character"));
  EXPECT_THAT(error("a*"), HasSubstr("matches none"));
  EXPECT_THAT(error("a\\"), HasSubstr("a backslash at the end"));
  EXPECT_EQ(error("[^\\s\\p{L}]|\\p{L}+(?!\\S)"), "");
}

TEST(Tokenizer, GivesBackEveryString) {
  for (const char* const name : {"/gpt2-bpe", "/tokenizer/byte_level.json", "/tokenizer/split_whole_words.json"}) {
    const Tokenizer tokenizer = Tokenizer::load(kData + name);
    Rng rng(1);
    for (int i = 0; i < 2000; ++i) {
      std::string text;
      const uint64_t size = rng.below(60), kind = rng.below(3);
      while (text.size() < size)
        text += kind == 0 ? std::string(1, static_cast<char>(rng.below(256)))
                          : std::vector<std::string>{
                                " ", "the", "é", "語", "\xe8\xaa", "\n", "'s", "1"}[rng.below(kind == 1 ? 8 : 4)];
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << name << " " << testing::PrintToString(text);
    }
  }
}

TEST(Tokenizer, GivesBackAddedTokensAndSpaces) {
  const Tokenizer added = Tokenizer::load(kData + "/tokenizer/added_tokens.json");
  EXPECT_EQ(added.decode(added.encode("a<pad><longer>b")), "a<pad><longer>b");
  EXPECT_EQ(added.decode(added.encode("a  <mask> b")), "a<mask> b");  // lstrip takes the space along
  const Tokenizer prefix = Tokenizer::load(kData + "/tokenizer/prefix_space.json");
  EXPECT_EQ(prefix.decode(prefix.encode("rain")), " rain");
}

TEST(Tokenizer, ReadsAddedTokensAsTextIfAsked) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/tokenizer/byte_level.json");
  EXPECT_THAT(tokenizer.encode("<|endoftext|>"), ElementsAre(0));
  const auto ids = tokenizer.encode("<|endoftext|>", Tokenizer::AddedTokens::kAsText);
  EXPECT_GT(ids.size(), 1u);
  EXPECT_EQ(tokenizer.decode(ids), "<|endoftext|>");
}

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/gpt2-bpe");
  EXPECT_EQ(tokenizer.vocab_size(), 50257);
  EXPECT_EQ(tokenizer.token_bytes(262), " the");
  EXPECT_EQ(tokenizer.find_token(" the"), 262);
  EXPECT_EQ(tokenizer.find_token("no such token"), -1);
  EXPECT_EQ(tokenizer.end_of_text(), 50256);
}

TEST(Tokenizer, RefusesUnknownIds) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/gpt2-bpe");
  EXPECT_EQ(test::error_of([&] {
              tokenizer.decode(std::vector<int32_t>{1, 50257});
            }),
            "token id: expected 0 to 50256, got 50257");
  EXPECT_EQ(test::error_of([&] { tokenizer.token_bytes(-1); }), "token id: expected 0 to 50256, got -1");
}

TEST(Tokenizer, AppendsToIds) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/gpt2-bpe");
  std::vector<int32_t> ids = {7};
  tokenizer.encode(" the", ids);
  EXPECT_THAT(ids, ElementsAre(7, 262));
}

TEST(Tokenizer, ServesThreadsAtOnce) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/gpt2-bpe");
  std::string text;
  for (int i = 0; i < 3000; ++i) text += " word" + std::to_string(i * 7919 % 1000) + (i % 5 ? " the" : "\u2014\n");
  const std::vector<int32_t> expected = Tokenizer::load(kData + "/gpt2-bpe").encode(text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4);
  for (size_t t = 0; t < equal.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) equal[t] += tokenizer.encode(text) == expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ElementsAre(20, 20, 20, 20));
}

// A merge loop that looks through the whole word for each merge would need days for these.
TEST(Tokenizer, EncodesWordsOfAMegabyte) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/gpt2-bpe");
  Rng rng(1);
  std::string letters;
  while (letters.size() < 1 << 20) letters += static_cast<char>('a' + rng.below(26));
  std::string invalid;
  while (invalid.size() < 1 << 20) invalid += static_cast<char>(0x80 + rng.below(0x40));
  for (const std::string& text :
       {letters, invalid, std::string(1 << 20, 'a'), std::string(1 << 20, ' ') + "x", std::string(1 << 20, '\xff')}) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<int32_t> ids = tokenizer.encode(text);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
}

TEST(Tokenizer, SaysWhichFilesItLooksFor) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(
      test::error_of([&] { Tokenizer::load(folder.path().string()); }),
      folder.path().string() +
          ": expected tokenizer.json, or encoder.json with vocab.bpe, or vocab.json with merges.txt, got none of them");
  EXPECT_THAT(test::error_of([&] { Tokenizer::load((folder / "none.json").string()); }), HasSubstr("none.json"));
}

TEST(Gpt2Files, AreReadUnderBothNames) {
  const test::TemporaryFolder folder;
  std::filesystem::copy(kData + "/gpt2-bpe/encoder.json", folder / "vocab.json");
  std::filesystem::copy(kData + "/gpt2-bpe/vocab.bpe", folder / "merges.txt");
  EXPECT_THAT(Tokenizer::load(folder.path().string()).encode(" the"), ElementsAre(262));
}

TEST(Gpt2Files, ErrorsNameFileAndLine) {
  std::string vocab = "{";
  int id = 0;
  for (const uint8_t byte : byte_alphabet_order()) {
    const std::string name = to_byte_alphabet(std::string(1, static_cast<char>(byte)));
    vocab += (id ? "," : "") +
             ("\"" + std::string(name == "\"" || name == "\\" ? "\\" : "") + name + "\":" + std::to_string(id));
    ++id;
  }
  const auto error = [&](const std::string& more, const std::string& merges) {
    return test::error_of([&] { parse_gpt2_files(vocab + more + "}", "v.json", merges, "m.bpe"); });
  };
  EXPECT_EQ(error(",\"ab\":256", "#version: 0.2\na b\n"), "");
  EXPECT_EQ(error(",\"ab\":256", "a b\r\n"), "");
  EXPECT_EQ(error("", "#version: 0.2\na b\n"), "m.bpe:2: expected tokens of the vocabulary, got \"ab\"");
  EXPECT_EQ(error("", "#version: 0.2\n\na b\n"), "m.bpe:2: expected two tokens separated by one space, got \"\"");
  EXPECT_EQ(error(",\"ab\":256", "a b\na b\n"),
            "m.bpe:2: expected each merge once, got \"a\" and \"b\" again (first as number 0)");
  EXPECT_EQ(error(",\"ab\":255", ""),
            "v.json: \"ab\": expected an id of its own, got 255, which is also that of \"Ń\"");
  EXPECT_EQ(error(",\"ab\":-1", ""), "v.json: \"ab\": expected an id from 0 to 16777215, got -1");
  EXPECT_EQ(error(",\"a b\":256", ""),
            "v.json: \"a b\": expected characters of the byte alphabet (GPT-2's byte-level kind), got others");
}

}  // namespace
}  // namespace troupe
