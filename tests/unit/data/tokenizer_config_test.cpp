#include "data/tokenizer/tokenizer_config.h"

#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

// transformers writes 1e30 in digits for "no limit", which no 64 bits hold.
TEST(TokenizerConfig, TakesIntegersOfAnySize) {
  const std::string text = R"({"model_max_length": 1000000000000000019884624838656, "eos_token": {"content": "</s>"}})";
  const TokenizerConfig config = parse_tokenizer_config(text, "tokenizer_config.json");
  EXPECT_EQ(config.eos_token, "</s>");
  EXPECT_EQ(config.json, text);
  EXPECT_EQ(test::error_of([] { parse_tokenizer_config(R"({"bos_token": 3})", "c.json"); }),
            "c.json: bos_token: expected a token's text, an object with its content, or null, got 3");
}

}  // namespace
}  // namespace troupe
