#include "data/fairseq/carry_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

struct CarryTokenizer : testing::Test {
  const fs::path gpt2 = fs::path(TROUPE_TEST_DATA) / "gpt2-bpe";
  const TemporaryFolder from, to;

  // Lines of ids from 0 to below `ids`.
  void write_dictionary(int ids) const {
    std::string text;
    for (int id = 0; id < ids; ++id) text += std::to_string(id) + " 1\n";
    write_file_atomically(from / "dict.txt", text);
  }
  void copy_gpt2() const {
    for (const char* name : {"encoder.json", "vocab.bpe"}) fs::copy_file(gpt2 / name, from.path() / name);
  }
};

TEST_F(CarryTokenizer, CopiesTokenizerJsonUnlessItHasMoreIdsThanTheModel) {
  const Tokenizer tokenizer = Tokenizer::load(gpt2.string());
  tokenizer.save(from / "tokenizer.json");
  carry_tokenizer(from.path(), to.path(), tokenizer.vocab_size());
  EXPECT_EQ(read_file(to / "tokenizer.json"), read_file(from / "tokenizer.json"));
  EXPECT_THAT(error_of([&] { carry_tokenizer(from.path(), to.path(), tokenizer.vocab_size() - 1); }),
              HasSubstr("tokenizer.json: expected at most 50256 ids (the model's vocabulary), got 50257"));
}

TEST_F(CarryTokenizer, MakesOneOfADictionaryAndGpt2sFiles) {
  write_dictionary(50257);
  copy_gpt2();
  carry_tokenizer(from.path(), to.path(), 50261);
  EXPECT_EQ(Tokenizer::load(to / "tokenizer.json").encode(" the"), std::vector<int32_t>{262 + 4});
  EXPECT_TRUE(fs::exists(to / "dict.txt"));
}

TEST_F(CarryTokenizer, MakesOneOfASentencePieceModelThatIsUnderstood) {
  const fs::path models = fs::path(TROUPE_TEST_DATA) / "tokenizer/sentencepiece", here = from / "tokenizer.model";
  fs::copy_file(models / "unigram.model", here);
  const auto carried = carry_tokenizer(from.path(), to.path(), 500);
  EXPECT_EQ(Tokenizer::load(to / "tokenizer.json").vocab_size(), 500);
  ASSERT_TRUE(carried.has_value());
  publish_tokenizer(*carried, to.path());
  EXPECT_FALSE(fs::exists(to / "tokenizer.json"));
  EXPECT_EQ(read_file(to / "tokenizer.model"), read_file(models / "unigram.model"));
  write_file_atomically(here, read_file(models / "unigram.model") + "\x12\x02\x18\x03");  // of the kind word
  EXPECT_EQ(error_of([&] { EXPECT_FALSE(carry_tokenizer(from.path(), to.path(), 500).has_value()); }), "");
  EXPECT_FALSE(fs::exists(to / "tokenizer.json"));
  fs::copy_file(models / "bpe.model", here, fs::copy_options::overwrite_existing);
  EXPECT_THAT(error_of([&] { carry_tokenizer(from.path(), to.path(), 499); }),
              HasSubstr("tokenizer.model: expected at most 499 ids (the model's vocabulary), got 500"));
  carry_tokenizer(from.path(), to.path(), 500);
  EXPECT_EQ(Tokenizer::load(to / "tokenizer.json").vocab_size(), 500);
}

TEST_F(CarryTokenizer, MakesNoneOfADictionaryThatLacksTokensOrStandsAlone) {
  write_dictionary(100);
  carry_tokenizer(from.path(), to.path(), 104);
  EXPECT_FALSE(fs::exists(to / "tokenizer.json"));
  fs::remove(to / "dict.txt");
  copy_gpt2();
  carry_tokenizer(from.path(), to.path(), 104);
  EXPECT_FALSE(fs::exists(to / "tokenizer.json"));
  EXPECT_TRUE(fs::exists(to / "dict.txt"));
  fs::remove(to / "dict.txt");
  EXPECT_THAT(error_of([&] { carry_tokenizer(from.path(), to.path(), 103); }),
              HasSubstr("dict.txt: expected at most 99 symbols (103 embedding rows), got 100"));
}

}  // namespace
}  // namespace troupe
