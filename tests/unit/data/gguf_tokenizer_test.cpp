// Tokenizers inside GGUF files: those of the package gguf (tests/data/gguf) and what is written.
#include "data/tokenizer/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kData = TROUPE_TEST_DATA;

// Expects the ids of vectors.jsonl for published/NAME.json.
void expect_vectors(const Tokenizer& tokenizer, const std::string& name) {
  std::ifstream file(kData + "/tokenizer/vectors.jsonl");
  int64_t count = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find("published/" + name + ".json") == line.npos) continue;
    const nlohmann::json vector = nlohmann::json::parse(line);
    std::vector<int32_t> ids = tokenizer.prefix();
    tokenizer.encode(vector.at("text").get<std::string>(), ids);
    ASSERT_EQ(ids, vector.at("ids").get<std::vector<int32_t>>()) << name << ": " << vector.at("text");
    ++count;
  }
  EXPECT_GT(count, 150);
}

TEST(GgufTokenizer, GivesTheIdsOfItsTokenizerJson) {
  const Tokenizer smollm = Tokenizer::load(kData + "/gguf/tokenizer-smollm.gguf");
  expect_vectors(smollm, "smollm");
  EXPECT_THAT(smollm.prefix(), IsEmpty());
  EXPECT_EQ(smollm.end_of_text(), 2);
  EXPECT_THAT(smollm.definition().config.json, HasSubstr("\"chat_template\": \"{% for m in messages %}"));
  const Tokenizer llama = Tokenizer::load(kData + "/gguf/tokenizer-llama3.gguf");
  expect_vectors(llama, "llama3");
  EXPECT_THAT(llama.prefix(), ElementsAre(1));
}

// Llama 2's kind.
TEST(GgufTokenizer, OfPiecesGivesTheIdsOfSentencePiece) {
  const Tokenizer tokenizer = Tokenizer::load(kData + "/gguf/tokenizer-pieces.gguf");
  std::ifstream file(kData + "/tokenizer/sentencepiece/bpe.jsonl");
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const nlohmann::json vector = nlohmann::json::parse(line);
    const auto text = vector.at("text").get<std::string>();
    EXPECT_EQ(tokenizer.encode(text, Tokenizer::AddedTokens::kAsText), vector.at("ids").get<std::vector<int32_t>>())
        << text;
  }
  EXPECT_GT(count, 50);
  EXPECT_THAT(tokenizer.prefix(), ElementsAre(1));
  EXPECT_EQ(tokenizer.end_of_text(), 2);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" caf\u00e9 \u65e5")), " caf\u00e9 \u65e5");
}

TEST(GgufTokenizer, ReadsBackWhatItWrites) {
  const test::TemporaryFolder folder;
  for (const std::string name : {"smollm", "llama3", "qwen", "nemo"}) {
    const Tokenizer tokenizer = Tokenizer::load(kData + "/tokenizer/published/" + name + ".json");
    const GgufMetadata metadata = gguf_tokenizer(tokenizer.definition(), tokenizer.vocab_size() + 3, name);
    write_file_atomically(folder / "x.gguf", [&](FileWriter& file) { GgufWriter(file, metadata, {}).finish(); });
    const Tokenizer back = Tokenizer::load((folder / "x.gguf").string());
    if (name != "nemo") expect_vectors(back, name);  // whose vectors have a token behind the text
    EXPECT_EQ(back.prefix(), tokenizer.prefix()) << name;
    EXPECT_EQ(back.suffix(), tokenizer.suffix()) << name;
    EXPECT_EQ(gguf_tokenizer(back.definition(), tokenizer.vocab_size() + 3, name)[2].second.value,
              metadata[2].second.value);
  }
}

TEST(GgufTokenizer, RefusesWhatTheFormatOrTheTableLacks) {
  const auto error = [&](const std::string& name) {
    const Tokenizer tokenizer = Tokenizer::load(kData + "/tokenizer/" + name);
    return test::error_of([&] { gguf_tokenizer(tokenizer.definition(), tokenizer.vocab_size(), "x"); });
  };
  const std::string others = "x: pre_tokenizer: expected byte-level BPE with the steps of one that GGUF has a name for";
  EXPECT_THAT(error("prefix_space.json"), HasSubstr(others));
  EXPECT_THAT(error("published/llama2.json"), HasSubstr(others));
  EXPECT_THAT(error("published/deepseek.json"), HasSubstr(others));

  const test::TemporaryFolder folder;
  const auto read_error = [&](const char* key, GgufValue value) {
    GgufMetadata metadata = GgufFile(kData + "/gguf/tokenizer-smollm.gguf").metadata();
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
    metadata.emplace_back(key, std::move(value));
    write_file_atomically(folder / "x.gguf", [&](FileWriter& file) { GgufWriter(file, metadata, {}).finish(); });
    return test::error_of([&] { Tokenizer::load((folder / "x.gguf").string()); });
  };
  EXPECT_THAT(
      read_error("tokenizer.ggml.model", GgufValue::string("t5")),
      HasSubstr("x.gguf: tokenizer.ggml.model: expected gpt2 (byte-level BPE) or llama (SentencePiece's BPE), got t5"));
  EXPECT_THAT(read_error("tokenizer.ggml.model", GgufValue::string("llama")),
              HasSubstr("x.gguf: tokenizer.ggml.scores: "));
  EXPECT_THAT(read_error("tokenizer.ggml.pre", GgufValue::string("porcupine")),
              HasSubstr("x.gguf: tokenizer.ggml.pre: expected one of gpt-2, smollm,"));
  EXPECT_THAT(read_error("tokenizer.ggml.eos_token_id", GgufValue::u32(99999)),
              HasSubstr("x.gguf: tokenizer.ggml.eos_token_id: expected the id of a token, got 99999"));
  EXPECT_THAT(read_error("tokenizer.ggml.token_type", GgufValue::i32s({1, 2})),
              HasSubstr("x.gguf: tokenizer.ggml.token_type: expected 450 of them, as tokens, got 2"));
  EXPECT_THAT(read_error("tokenizer.ggml.merges", GgufValue::strings({"a b c"})),
              HasSubstr("x.gguf: tokenizer.ggml.merges[0]: expected two tokens separated by one space, got \"a b c\""));
  EXPECT_THAT(read_error("tokenizer.ggml.tokens", GgufValue::string("x")),
              HasSubstr("x.gguf: tokenizer.ggml.tokens: expected an array of strings, got another type"));
}

}  // namespace
}  // namespace troupe
