// The tokenizer that goes with a model: its own, or one that the user names.
#pragma once

#include <filesystem>
#include <string>

#include "data/shards/dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "troupe/config.h"
#include "troupe/fields.h"

namespace troupe {

// What the flags --tokenizer and --any-tokenizer say.
struct TokenizerChoice {
  std::string path;  // empty: the one in the model's folder
  bool any = false;  // also one that is not the model's
};

// Whether ids mean to the model what they mean to who wrote them.
enum class TokenizerMatch {
  kSame,
  kAnother,  // said with --any-tokenizer only
  kUnknown,  // the model's folder has no tokenizer to compare with, or the ids name none
};
template <>
struct EnumNames<TokenizerMatch> {
  static constexpr std::array<std::pair<std::string_view, TokenizerMatch>, 3> values = {
      {{"same", TokenizerMatch::kSame}, {"another", TokenizerMatch::kAnother}, {"unknown", TokenizerMatch::kUnknown}}};
};

// The tokenizer to use. Throws kUsage if it is not the one in the model's folder, where there is one, unless
// choice.any, or has more ids than the model; otherwise as Tokenizer::load() does. What else than kSame it is, a log
// line says.
struct ModelTokenizer {
  Tokenizer tokenizer;
  TokenizerMatch match;
};
ModelTokenizer load_model_tokenizer(const TokenizerChoice& choice, const std::filesystem::path& model_folder,
                                    const ModelConfig& config);

// The same for shards, which name the tokenizer that wrote them: throws kData.
TokenizerMatch match_shards(const TokenizerChoice& choice, const std::filesystem::path& model_folder,
                            const ModelConfig& config, const TokenDataset& shards);

}  // namespace troupe
