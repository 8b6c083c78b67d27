#include "data/fairseq/renumber.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/rng.h"
#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

struct Renumbering : testing::Test {
  const std::string folder = std::string(TROUPE_TEST_DATA) + "/gpt2-bpe";
  const TokenizerDefinition gpt2 = Tokenizer::load(folder).definition();
  std::vector<int32_t> order;  // GPT-2's ids in the order of the dictionary
  std::vector<std::string> symbols;

  Renumbering() : order(gpt2.tokens.size()) {
    std::iota(order.begin(), order.end(), 0);
    Rng rng(5);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    for (const int32_t id : order) symbols.push_back(std::to_string(id));
    symbols.push_back("madeupword0000");
  }
  FairseqDictionary dictionary() const {
    std::string text;
    for (const std::string& symbol : symbols) text += symbol + " 1\n";
    return FairseqDictionary::parse(text, "dict.txt");
  }
};

TEST_F(Renumbering, GivesTheSameTokensUnderTheIdsOfTheDictionary) {
  const TemporaryFolder written;
  Tokenizer(renumber(gpt2, dictionary(), "dict.txt")).save(written / "tokenizer.json");
  const Tokenizer plain = Tokenizer::load(folder), renumbered = Tokenizer::load(written / "tokenizer.json");
  std::vector<int32_t> new_id(order.size());
  for (size_t k = 0; k < order.size(); ++k) new_id[static_cast<size_t>(order[k])] = static_cast<int32_t>(k) + 4;
  const std::string text = "Hello, it's 2021: déjà vu  \n\n and\ttabs \xff\xfe end.";
  std::vector<int32_t> expected;
  for (const int32_t id : plain.encode(text)) expected.push_back(new_id[static_cast<size_t>(id)]);
  EXPECT_EQ(renumbered.encode(text), expected);
  EXPECT_EQ(renumbered.decode(expected), text);
  EXPECT_EQ(renumbered.token_bytes(2), "</s>");
}

TEST_F(Renumbering, NamesATokenThatTheDictionaryLacks) {
  symbols.erase(std::find(symbols.begin(), symbols.end(), "262"));
  EXPECT_THAT(
      error_of([&] { renumber(gpt2, dictionary(), "dict.txt"); }),
      HasSubstr("dict.txt: expected a line for every token of GPT-2's BPE, got none for 1 of them, 262 the first"));
}

TEST_F(Renumbering, TakesTheLastOfASymbolThatIsOverwritten) {
  symbols.push_back("262 1 #fairseq:overwrite\n0262");  // "0262" is no symbol that fairseq looks up
  const TokenizerDefinition made = renumber(gpt2, dictionary(), "dict.txt");
  const std::string& bytes = gpt2.tokens[262].bytes;
  EXPECT_EQ(made.tokens[symbols.size() + 3].bytes, bytes);
  EXPECT_EQ(
      std::count_if(made.tokens.begin(), made.tokens.end(), [&](const auto& token) { return token.bytes == bytes; }),
      1);
}

}  // namespace
}  // namespace troupe
