// GPT-2's published vocabulary and merges against text with known ids (tests/data/gpt2-bpe/README.md).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer/tokenizer.h"

namespace troupe {
namespace {

const std::string kFolder = TROUPE_TEST_DATA "/gpt2-bpe";

TEST(Gpt2Bpe, EncodesAndDecodesTheVectors) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder);
  EXPECT_EQ(tokenizer.vocab_size(), 50257);
  EXPECT_EQ(tokenizer.end_of_text(), 50256);
  std::ifstream file(kFolder + "/vectors.jsonl");
  int64_t cases = 0;
  for (std::string line; std::getline(file, line); ++cases) {
    const nlohmann::json vector = nlohmann::json::parse(line);
    const auto text = vector.at("text").get<std::string>();
    const auto ids = vector.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
  EXPECT_EQ(cases, 276);
}

}  // namespace
}  // namespace troupe
