#include "data/tokenizer/tokenizer_config.h"

#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

// What reads all JSON of tokenizers (data/tokenizer/json_value.h).
TEST(TokenizerConfig, SaysWhereItIsNoJson) {
  const auto error = [](const char* text) {
    return test::error_of([&] { parse_tokenizer_config(text, "tokenizer_config.json"); });
  };
  EXPECT_TRUE(
      error("{\n\"bos_token\": x}").starts_with("tokenizer_config.json: line 2, column 14 (byte 15): expected JSON"))
      << error("{\n\"bos_token\": x}");
  for (const char* beyond_double : {"{\"a\": 6e611}", "[6e611"})
    EXPECT_TRUE(error(beyond_double).starts_with("tokenizer_config.json: expected JSON, got: "))
        << error(beyond_double);
}

}  // namespace
}  // namespace troupe
