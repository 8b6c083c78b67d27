// Tokenizer files and ids of Hugging Face tokenizers (tests/data/tokenizer/README.md), and files written for it.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/tokenizer/bpe_trainer.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/tokenizer.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

const std::string kFolder = TROUPE_TEST_DATA "/tokenizer/";

struct Vector {
  std::string text;
  std::vector<int32_t> ids;
  std::string decoded;  // what Hugging Face makes of the ids, where it is not the text; empty: the text
};

// The ids of a whole text, as Tokenizer.encode() of Hugging Face gives them.
std::vector<int32_t> encode_whole(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids = tokenizer.prefix();
  tokenizer.encode(text, ids);
  ids.insert(ids.end(), tokenizer.suffix().begin(), tokenizer.suffix().end());
  return ids;
}

// By file of the tokenizer.
std::map<std::string, std::vector<Vector>> read_vectors() {
  std::map<std::string, std::vector<Vector>> vectors;
  std::ifstream file(kFolder + "vectors.jsonl");
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json object = nlohmann::json::parse(line);
    const auto name = object.at("tokenizer").get<std::string>();
    vectors[name == "gpt2-bpe" ? TROUPE_TEST_DATA "/gpt2-bpe" : kFolder + name].push_back(
        {object.at("text"), object.at("ids").get<std::vector<int32_t>>(), object.value("decoded", "")});
  }
  return vectors;
}

TEST(HuggingFaceTokenizers, GiveTheSameIds) {
  const auto vectors = read_vectors();
  ASSERT_EQ(vectors.size(), 17u);
  for (const auto& [path, cases] : vectors) {
    const Tokenizer tokenizer = Tokenizer::load(path);
    ASSERT_GT(cases.size(), 150u);
    for (const Vector& vector : cases)
      EXPECT_EQ(encode_whole(tokenizer, vector.text), vector.ids) << path << ": " << vector.text;
  }
}

TEST(HuggingFaceTokenizers, GiveTheSameTextBack) {
  for (const auto& [path, cases] : read_vectors()) {
    if (path.find("/published/") == path.npos) continue;  // the others have no `decoded`
    const Tokenizer tokenizer = Tokenizer::load(path);
    for (const Vector& vector : cases)
      EXPECT_EQ(tokenizer.decode(vector.ids), vector.decoded.empty() ? vector.text : vector.decoded) << path;
  }
}

TEST(HuggingFaceTokenizers, SavedFilesGiveTheSameIds) {
  const test::TemporaryFolder folder;
  for (const auto& [path, cases] : read_vectors()) {
    const std::string copy = (folder.path() / "tokenizer.json").string();
    Tokenizer::load(path).save(copy);
    const Tokenizer tokenizer = Tokenizer::load(folder.path().string());
    for (const Vector& vector : cases)
      ASSERT_EQ(encode_whole(tokenizer, vector.text), vector.ids) << path << ": " << vector.text;
    tokenizer.save((folder.path() / "again.json").string());
    EXPECT_EQ(read_file(copy), read_file(folder.path() / "again.json"));
  }
}

TEST(HuggingFaceTokenizers, LearnTheSameMerges) {
  const nlohmann::json training = nlohmann::json::parse(read_file(kFolder + "training.json"));
  BpeTrainer trainer({.vocab_size = 600, .min_count = training.at("min_count")});
  trainer.add(training.at("text").get<std::string>());
  const Tokenizer learned = trainer.finish(), expected = Tokenizer::load(kFolder + "byte_level.json");
  ASSERT_EQ(learned.vocab_size(), expected.vocab_size());
  for (int32_t id = 0; id < learned.vocab_size(); ++id)
    EXPECT_EQ(learned.token_bytes(id), expected.token_bytes(id)) << id;
  ASSERT_EQ(learned.definition().merges.size(), expected.definition().merges.size());
  for (size_t i = 0; i < learned.definition().merges.size(); ++i) {
    EXPECT_EQ(learned.definition().merges[i].left, expected.definition().merges[i].left) << i;
    EXPECT_EQ(learned.definition().merges[i].right, expected.definition().merges[i].right) << i;
  }
}

}  // namespace
}  // namespace troupe
