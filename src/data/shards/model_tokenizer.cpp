#include "data/shards/model_tokenizer.h"

#include "base/error.h"
#include "base/log.h"
#include "data/shards/encode_text.h"
#include "data/shards/tokenizer_identity.h"
#include "io/checksum.h"

namespace troupe {

ModelTokenizer load_model_tokenizer(const TokenizerChoice& choice, const std::filesystem::path& model_folder,
                                    const ModelConfig& config) {
  ModelTokenizer loaded{Tokenizer::load(choice.path.empty() ? model_folder.string() : choice.path),
                        TokenizerMatch::kSame};
  if (const int64_t size = loaded.tokenizer.vocab_size(); size > config.vocab_size)
    fail(ErrorCode::kUsage, "--tokenizer: expected at most {} ids (the model's vocabulary), got {}", config.vocab_size,
         size);
  if (choice.path.empty()) return loaded;
  if (!has_tokenizer(model_folder)) {
    log::info("{}: has no tokenizer: whether {} is the one of its training is not known ({} ids of {})",
              model_folder.string(), choice.path, loaded.tokenizer.vocab_size(), config.vocab_size);
    loaded.match = TokenizerMatch::kUnknown;
  } else if (!is_tokenizer(model_folder, checksum_of(loaded.tokenizer))) {
    if (!choice.any)
      fail(ErrorCode::kUsage,
           "--tokenizer: expected the model's, in {}, got another one, {} (--any-tokenizer takes it)",
           model_folder.string(), choice.path);
    log::warning("{}: not the tokenizer of the model, in {}", choice.path, model_folder.string());
    loaded.match = TokenizerMatch::kAnother;
  }
  return loaded;
}

TokenizerMatch match_shards(const TokenizerChoice& choice, const std::filesystem::path& model_folder,
                            const ModelConfig& config, const TokenDataset& shards) {
  const std::string data = shards.path().string(),
                    tokenizer = choice.path.empty() ? model_folder.string() : choice.path;
  if (const int64_t size = shards.vocabulary().size; size > config.vocab_size && !choice.any)
    fail(ErrorCode::kData,
         "{}: vocab_size: expected at most {} (the model's vocabulary), got {} (--any-tokenizer takes it)", data,
         config.vocab_size, size);
  if (choice.path.empty() && !has_tokenizer(model_folder)) {
    log::info("{}: has no tokenizer: whether {} was written with the one of its training is not known", tokenizer,
              data);
    return TokenizerMatch::kUnknown;
  }
  const uint64_t wrote = shards.vocabulary().tokenizer;
  if (is_tokenizer(tokenizer, wrote)) return TokenizerMatch::kSame;
  if (!choice.any)
    fail(ErrorCode::kData,
         "{}: expected shards written with the tokenizer in {}, got some of another ({}; --any-tokenizer takes them)",
         data, tokenizer, to_hex(wrote));
  log::warning("{}: written with another tokenizer than the one in {}", data, tokenizer);
  return TokenizerMatch::kAnother;
}

}  // namespace troupe
