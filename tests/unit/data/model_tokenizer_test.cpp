#include "data/shards/model_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/shards/encode_text.h"
#include "data/tokenizer/bpe_trainer.h"
#include "error_of.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

Tokenizer trained(const std::string& text) {
  BpeTrainer trainer({.vocab_size = 260});
  trainer.add(text);
  return trainer.finish();
}

struct ModelsTokenizer : testing::Test {
  const TemporaryFolder model, other, none;
  const Tokenizer own = trained("aa bb cc aa bb"), another = trained("xy xy zz zz xy");
  ModelConfig config;

  void SetUp() override {
    own.save(model / "tokenizer.json"), another.save(other / "tokenizer.json");
    config.vocab_size = 300;
  }
  TokenDataset shards(const Tokenizer& tokenizer, int64_t vocab_size) const {
    const auto folder = none / ("shards" + std::to_string(vocab_size));
    DatasetWriter writer(folder, {vocab_size, 0, checksum_of(tokenizer)}, 100);
    writer.add(std::vector<int32_t>{1, 0}, 1);
    writer.finish();
    return TokenDataset(folder);
  }
};

TEST_F(ModelsTokenizer, IsTheModelsOrIsAskedFor) {
  EXPECT_EQ(load_model_tokenizer({}, model.path(), config).match, TokenizerMatch::kSame);
  const std::string path = other.path().string();
  EXPECT_THAT(error_of([&] { load_model_tokenizer({.path = path}, model.path(), config); }, ErrorCode::kUsage),
              HasSubstr("--tokenizer: expected the model's, in "));
  EXPECT_EQ(load_model_tokenizer({path, true}, model.path(), config).match, TokenizerMatch::kAnother);
  EXPECT_EQ(load_model_tokenizer({.path = path}, none.path(), config).match, TokenizerMatch::kUnknown);
  config.vocab_size = 259;
  EXPECT_THAT(error_of([&] { load_model_tokenizer({}, model.path(), config); }, ErrorCode::kUsage),
              HasSubstr("expected at most 259 ids (the model's vocabulary), got 260"));
}

TEST_F(ModelsTokenizer, WroteTheShardsOrIsAskedFor) {
  EXPECT_EQ(match_shards({}, model.path(), config, shards(own, 260)), TokenizerMatch::kSame);
  EXPECT_EQ(match_shards({}, none.path(), config, shards(own, 261)), TokenizerMatch::kUnknown);
  const TokenDataset strange = shards(another, 262);
  EXPECT_THAT(error_of([&] { match_shards({}, model.path(), config, strange); }),
              HasSubstr("expected shards written with the tokenizer in "));
  EXPECT_EQ(match_shards({{}, true}, model.path(), config, strange), TokenizerMatch::kAnother);
  EXPECT_THAT(error_of([&] { match_shards({}, model.path(), config, shards(own, 301)); }),
              HasSubstr("vocab_size: expected at most 300 (the model's vocabulary), got 301"));
}

}  // namespace
}  // namespace troupe
