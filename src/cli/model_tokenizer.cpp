#include "cli/model_tokenizer.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "data/shards/encode_text.h"
#include "data/shards/tokenizer_identity.h"
#include "io/checksum.h"

namespace troupe::cli {

void add_tokenizer_flags(CLI::App& command, TokenizerFlags& flags) {
  command.add_option("--tokenizer", flags.path, "tokenizer.json or its folder (default: the model directory)")
      ->type_name("PATH");
  command.add_flag("--any-tokenizer", flags.any,
                   "take a tokenizer, or data written with one, that is not the model's: ids mean other tokens");
}

std::string match_name(TokenizerMatch match) {
  switch (match) {
    case TokenizerMatch::kSame:
      return "same";
    case TokenizerMatch::kAnother:
      return "another";
    case TokenizerMatch::kUnknown:
      break;
  }
  return "unknown";
}

ModelTokenizer load_model_tokenizer(const TokenizerFlags& flags, const std::filesystem::path& model_folder,
                                    const ModelConfig& config) {
  ModelTokenizer loaded{Tokenizer::load(flags.path.empty() ? model_folder.string() : flags.path),
                        TokenizerMatch::kSame};
  if (const int64_t size = loaded.tokenizer.vocab_size(); size > config.vocab_size)
    fail(ErrorCode::kUsage, "--tokenizer: expected at most {} ids (the model's vocabulary), got {}", config.vocab_size,
         size);
  if (flags.path.empty()) return loaded;
  if (!has_tokenizer(model_folder)) {
    log::info("{}: has no tokenizer: whether {} is the one of its training is not known ({} ids of {})",
              model_folder.string(), flags.path, loaded.tokenizer.vocab_size(), config.vocab_size);
    loaded.match = TokenizerMatch::kUnknown;
  } else if (!is_tokenizer(model_folder, checksum_of(loaded.tokenizer))) {
    if (!flags.any)
      fail(ErrorCode::kUsage, "--tokenizer: expected the model's, in {}, got another one, {} (--any-tokenizer takes it)",
           model_folder.string(), flags.path);
    log::warning("{}: not the tokenizer of the model, in {}", flags.path, model_folder.string());
    loaded.match = TokenizerMatch::kAnother;
  }
  return loaded;
}

TokenizerMatch match_shards(const TokenizerFlags& flags, const std::filesystem::path& model_folder,
                            const ModelConfig& config, const TokenDataset& shards) {
  const std::string data = shards.path().string(), tokenizer = flags.path.empty() ? model_folder.string() : flags.path;
  if (const int64_t size = shards.vocabulary().size; size > config.vocab_size && !flags.any)
    fail(ErrorCode::kData, "{}: vocab_size: expected at most {} (the model's vocabulary), got {} (--any-tokenizer takes it)",
         data, config.vocab_size, size);
  if (flags.path.empty() && !has_tokenizer(model_folder)) {
    log::info("{}: has no tokenizer: whether {} was written with the one of its training is not known", tokenizer, data);
    return TokenizerMatch::kUnknown;
  }
  const uint64_t wrote = shards.vocabulary().tokenizer;
  if (is_tokenizer(tokenizer, wrote)) return TokenizerMatch::kSame;
  if (!flags.any)
    fail(ErrorCode::kData,
         "{}: expected shards written with the tokenizer in {}, got some of another ({}; --any-tokenizer takes them)",
         data, tokenizer, to_hex(wrote));
  log::warning("{}: written with another tokenizer than the one in {}", data, tokenizer);
  return TokenizerMatch::kAnother;
}

}  // namespace troupe::cli
