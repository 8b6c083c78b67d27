// SentencePiece's models against what SentencePiece makes of texts (tests/data/tokenizer/sentencepiece).
#include "data/tokenizer/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "io/tokenizer_files.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kSentencePieceData = fs::path(TROUPE_TEST_DATA) / "tokenizer/sentencepiece";

// The ids of every text, again by what is written; and the texts back, where they are not rewritten.
void expect_ids(const std::string& file, const std::string& vectors, bool rewrites) {
  SCOPED_TRACE(file);
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::load((kSentencePieceData / file).string());
  tokenizer.save((folder / kTokenizerFile).string());
  const Tokenizer again = Tokenizer::load(folder.path().string());
  EXPECT_EQ(tokenizer_json(again.definition()), tokenizer_json(tokenizer.definition()));
  std::ifstream lines(kSentencePieceData / vectors);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const nlohmann::json expected = nlohmann::json::parse(line);
    const auto text = expected["text"].get<std::string>();
    const std::vector<int32_t> ids = tokenizer.encode(text, Tokenizer::AddedTokens::kAsText);
    EXPECT_EQ(ids, expected["ids"].get<std::vector<int32_t>>()) << text;
    EXPECT_EQ(again.encode(text, Tokenizer::AddedTokens::kAsText), ids) << text;
    if (!rewrites && text.find("\u2581") == text.npos) {
      EXPECT_EQ(tokenizer.decode(ids), text);
    }
  }
  EXPECT_GT(count, 50);
  EXPECT_EQ(again.vocab_size(), tokenizer.vocab_size());
  EXPECT_EQ(again.end_of_text(), tokenizer.end_of_text());
}

TEST(SentencePiece, EncodesAndDecodesAsItsOwnLibrary) {
  const Tokenizer tokenizer = Tokenizer::load((kSentencePieceData / "bpe.model").string());
  EXPECT_EQ(tokenizer.vocab_size(), 500);
  EXPECT_EQ(tokenizer.end_of_text(), 2);  // </s>
  expect_ids("bpe.model", "bpe.jsonl", false);
  expect_ids("unigram.model", "unigram.jsonl", false);
  expect_ids("rules.model", "rules.jsonl", true);
}

TEST(SentencePiece, AsATokenizerJsonOfXglmsShapeEncodesAsHuggingFace) {
  expect_ids("unigram.json", "unigram.json.jsonl", true);
  const Tokenizer tokenizer = Tokenizer::load((kSentencePieceData / "unigram.json").string());
  EXPECT_EQ(tokenizer.prefix(), std::vector<int32_t>{2});
  EXPECT_EQ(tokenizer.encode("</s>"), std::vector<int32_t>{2});
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("the work, and")), "the work, and");
}

TEST(SentencePiece, BytesThatAreNoTextAreBytesOrUnknown) {
  const std::string text = "the \xff\xfe\xc3 end";
  const Tokenizer bytes = Tokenizer::load((kSentencePieceData / "unigram.model").string());
  EXPECT_EQ(bytes.decode(bytes.encode(text)), text);
  const Tokenizer unknown = Tokenizer::load((kSentencePieceData / "rules.model").string());
  EXPECT_EQ(std::ranges::count(unknown.encode(text), 0), 1);
}

TEST(SentencePiece, IsReadFromAFolderAndWrittenAsTokenizerJson) {
  const test::TemporaryFolder folder;
  fs::copy_file(kSentencePieceData / "bpe.model", folder / kSentencePieceFile);
  const Tokenizer tokenizer = Tokenizer::load(folder.path().string());
  const test::TemporaryFolder other;
  tokenizer.save((other / "tokenizer.json").string());
  const Tokenizer back = Tokenizer::load(other.path().string());
  const std::string text = "  two  spaces, caf\u00e9 \u65e5\u672c\n";
  EXPECT_EQ(back.encode(text), tokenizer.encode(text));
  EXPECT_EQ(back.end_of_text(), 2);
  EXPECT_EQ(back.definition().config.bos_token, "<s>");
}

// What is beside it counts key by key, and travels with the tokenizer.
TEST(SentencePiece, KeepsItsTokensUnlessAConfigurationBesideItSaysOtherwise) {
  const auto both_ways = [](const char* config, const char* chat_template) {
    const test::TemporaryFolder folder, other;
    fs::copy_file(kSentencePieceData / "bpe.model", folder / kSentencePieceFile);
    if (config) write_file_atomically(folder / kTokenizerConfigFile, config);
    if (chat_template) write_file_atomically(folder / kChatTemplateFile, chat_template);
    const Tokenizer tokenizer = Tokenizer::load(folder.path().string());
    tokenizer.save((other / kTokenizerFile).string());
    const Tokenizer back = Tokenizer::load(other.path().string());
    EXPECT_EQ(back.end_of_text(), tokenizer.end_of_text());
    EXPECT_EQ(back.definition().config.bos_token, tokenizer.definition().config.bos_token);
    EXPECT_EQ(back.definition().config.chat_template, chat_template ? chat_template : "");
    return tokenizer;
  };
  const auto expect = [&](const char* config, const char* bos, int32_t eos, const std::string& written) {
    const Tokenizer tokenizer = both_ways(config, nullptr);
    EXPECT_EQ(tokenizer.definition().config.bos_token, bos);
    EXPECT_EQ(tokenizer.end_of_text(), eos);
    EXPECT_EQ(tokenizer.definition().config.json, written);
  };
  expect(R"({"chat_template": "x", "most": 1000000000000000019884624838656})", "<s>", 2,
         "{\n \"bos_token\": \"<s>\",\n \"eos_token\": \"</s>\","
         R"("chat_template": "x", "most": 1000000000000000019884624838656})");
  expect("{}", "<s>", 2, "{\n \"bos_token\": \"<s>\",\n \"eos_token\": \"</s>\"\n}");
  expect("{\"eos_token\": \"<s>\"}", "<s>", 1, "{\n \"bos_token\": \"<s>\",\"eos_token\": \"<s>\"}");
  expect(R"({"bos_token": null, "eos_token": null})", "", -1, R"({"bos_token": null, "eos_token": null})");
  const Tokenizer with_template = both_ways(nullptr, "{{ x }}");
  EXPECT_EQ(with_template.end_of_text(), 2);
  EXPECT_EQ(with_template.definition().config.chat_template, "{{ x }}");
}

TEST(SentencePiece, RefusesByNameWhatItWouldReadOtherwise) {
  const std::string model = read_file(kSentencePieceData / "bpe.model");
  const auto error = [](const std::string& bytes) {
    return test::error_of([&] { parse_sentencepiece(bytes, "x.model"); });
  };
  EXPECT_EQ(error(model), "");
  EXPECT_EQ(error(read_file(kSentencePieceData / "unigram.model")), "");
  // Fields that come again count.
  const auto with = [&](char message, std::string field) {
    return error(model + message + static_cast<char>(field.size()) + field);
  };
  EXPECT_THAT(with('\x1a', std::string("\x12\x01z")),
              HasSubstr("x.model: normalizer_spec.precompiled_charsmap: expected a trie of at most 1 bytes"));
  EXPECT_THAT(with('\x12', std::string("\x18\x03")),
              HasSubstr("trainer_spec.model_type: expected unigram or bpe, got word"));
  EXPECT_EQ(error(read_file(kSentencePieceData / "unigram.model") + "\x0a\x05\x0a\x01?\x18\x02"),
            "x.model: pieces[500].type: expected one unknown piece, got another");
  EXPECT_THAT(with('\x12', std::string("\x98\x02\x00", 3)),
              HasSubstr("trainer_spec.byte_fallback: expected true, got false"));
  EXPECT_THAT(with('\x0a', std::string("\x0a\x02[]\x18\x04")),
              HasSubstr("x.model: pieces[500].type: expected no user-defined piece, got \"[]\""));
  EXPECT_THAT(with('\x0a', std::string("\x0a\x01\xff")), HasSubstr("pieces[500].piece: expected text in UTF-8"));
  EXPECT_THAT(with('\x0a', std::string("\x0a\x03<s>")), HasSubstr("expected each token once, got it twice"));
  EXPECT_THAT(error(model.substr(0, 1000)), HasSubstr("expected"));
  EXPECT_THAT(error("{\"version\": \"1.0\"}"), HasSubstr("x.model: "));
  EXPECT_THAT(error(""), HasSubstr("x.model: expected a SentencePiece model, got one without pieces"));
}

}  // namespace
}  // namespace troupe
