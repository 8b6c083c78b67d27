#include "data/tokenizer/tokenizer.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/rng.h"
#include "data/tokenizer/added_token_finder.h"
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
  EXPECT_EQ(error("a|\\pL+"),
            "x.json: Regex: expected constructs that PCRE2 can be made to read as Hugging Face does, got \\pL (write "
            "\\p{L}) (character 3)");
  const std::pair<const char*, const char*> refused[] = {
      {"[a[b]]", "got a class inside a class (character 3)"},
      {"[a&&b]", "got && in a class"},
      {"[]a]", "got ] as the first member"},
      {"[\\W]", "got \\W in a class"},
      {"[[:^word:]]", "got [:word:]"},
      {"[[:graph:]]", "got [:graph:]"},
      {"\\w+", "got \\w"},
      {"a\\b", "got \\b"},
      {"[[:alpha:]]", "got [:alpha:]"},
      {"[a-\\d]", "got a class as the end of a range"},
      {"[\\d-x]", "got - between members"},
      {"[a-c-e]", "got - between members"},
      {"[a", "got a class without its ]"},
      {"a\\", "got a backslash at the end"},
      {"\\p{L", "got \\p{ without its }"},
      {"\\X", "got \\X"},
      {"a\\K", "got \\K"},
      {"\\Ga", "got \\G"},
      {"(a)\\1", "got \\1"},
      {"(?<n>a)\\k<n>", "got \\k"},
      {"\\g<0>a", "got \\g"},
      {"\\0", "got \\0"},
      {"\\xe9", "got \\xe9"},
      {"\\x", "got \\x"},
      {"\\x{110000}", "got \\x{110000}"},
      {"\\ud800", "got \\ud800"},
      {"\\cA", "got \\c"},
      {"\\N", "got \\N"},
      {"\\O", "got \\O"},
      {"\\y", "got \\y"},
      {"\\Qa\\E", "got \\Q"},
      {"(?x)a", "got (?x"},
      {"(?#a)b", "got (?#"},
      {"(?~a)b", "got (?~"},
      {"(a)(?(1)b|c)", "got (?("},
      {"(*FAIL)|a", "got (*"},
      {"(*UTF)a", "got (*"},
      {"(?P<n>a)", "got (?P"},
      {"(a", "got a group without its )"},
      {"a)", "got a ) without its ("},
      {"a**", "got * with nothing to repeat, or after another quantifier"},
      {"*a", "got * with"},
      {"a|+", "got + with"},
      {"a{2}{3}", "got {3} with"},
      {"(?=a)*b", "got * with"},
      {"^*a", "got * with"},
      {"(?i)ss", "got ss under (?i)"},
      {"(?i:straf)", "got st under (?i)"},
      {"(?i)f\\x69", "got fi under (?i)"},
      {"(?i)s{2}", "got s{2} under (?i)"},
      {"(?i:\u00e9)", "got \u00e9 under (?i)"},
      {"(?i)[a\u00df]", "in a class under (?i)"},
      {"(?i)\\p{Lu}", "got \\p{Lu} under (?i)"},
      {"(?i)[[:upper:]]", "got [:upper:] under (?i)"},
      {"\\p{Nonsense}a", "expected a regular expression, got an error"},
      {"a{3,2}", "expected a regular expression"},
      {"a*", "matches none"},
      {"a{,2}|.", "matches none"}};
  for (const auto& [pattern, message] : refused) EXPECT_THAT(error(pattern), HasSubstr(message)) << pattern;
  EXPECT_EQ(error("[^\\s\\p{L}]|\\p{L}+(?!\\S)"), "");
}

// What Hugging Face tokenizers 0.23.3 finds: white space that a token takes along is searched as well.
TEST(AddedTokens, AreFoundInWhiteSpaceThatAnotherTakesAlong) {
  const AddedTokenFinder finder({{.content = "<u>", .id = 1, .rstrip = true},
                                 {.content = "\n\n", .id = 2},
                                 {.content = "<l>", .id = 3, .lstrip = true},
                                 {.content = "<b>", .id = 4, .lstrip = true, .rstrip = true}});
  const auto parts = [&](std::string_view text) {
    std::string joined;
    AddedTokenFinder::Matcher(finder).split(
        text, [&](std::string_view part, bool) { joined += fmt::format("'{}'", part); },
        [&](int32_t id) { joined += fmt::format("[{}]", id); });
    return joined;
  };
  EXPECT_EQ(parts("<u>\n\nx"), "[1][2]'x'");
  EXPECT_EQ(parts("<u>\n\n\nx"), "[1][2]'\nx'");
  EXPECT_EQ(parts("<u> \n\n x"), "[1][2]' x'");
  EXPECT_EQ(parts("<u>\n\n<u>\n\n"), "[1][2][1][2]");
  EXPECT_EQ(parts("<u>  <l>"), "[1][3]");
  EXPECT_EQ(parts("a <l>\n\n<l> <u>"), "'a'[3][2][3]' '[1]");
  EXPECT_EQ(parts("<u> \n\n <l>"), "[1][2][3]");
  EXPECT_EQ(parts("<b>\n\n<b> x"), "[4][2][4]'x'");
  EXPECT_EQ(parts("<u>\n\n  <l>x"), "[1][2][3]'x'");
  EXPECT_EQ(parts("a  <b>  b"), "'a'[4]'b'");
}

TEST(Tokenizer, ListsTheIdsThatStandForText) {
  TokenizerDefinition definition = Tokenizer::load(kData + "/tokenizer/byte_level.json").definition();
  const auto before = static_cast<int32_t>(definition.tokens.size());
  definition.tokens.resize(definition.tokens.size() + 3);  // a gap, a special token, one that is text
  definition.tokens[static_cast<size_t>(before) + 1] = {TokenizerDefinition::Kind::kAddedOnly, "<pad>"};
  definition.tokens[static_cast<size_t>(before) + 2] = {TokenizerDefinition::Kind::kAddedOnly, "new word"};
  definition.added.push_back({.content = "<pad>", .id = before + 1, .special = true});
  definition.added.push_back({.content = "new word", .id = before + 2});
  std::vector<int32_t> expected;  // without <|endoftext|>, id 0
  for (int32_t id = 1; id < before; ++id) expected.push_back(id);
  expected.push_back(before + 2);
  EXPECT_EQ(Tokenizer(definition).text_ids(), expected);
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
          ": expected tokenizer.json, or encoder.json with vocab.bpe, or vocab.json with merges.txt, or "
          "tokenizer.model, got none of them");
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
