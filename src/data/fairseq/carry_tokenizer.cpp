#include "data/fairseq/carry_tokenizer.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "data/fairseq/renumber.h"
#include "data/tokenizer/gguf_tokenizer.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/tokenizer.h"
#include "io/atomic_file.h"
#include "io/path_kind.h"
#include "io/tokenizer_files.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

// What `make` makes; none, which is said, where it throws kData.
template <class Make>
std::optional<Tokenizer> made_if_understood(const char* without, const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    log::warning("{}: no tokenizer.json, {}", error.what(), without);
    return std::nullopt;
  }
}

}  // namespace

std::optional<Tokenizer> carry_tokenizer(const fs::path& from, const fs::path& to, int64_t vocab_size) {
  const auto check_size = [&](const Tokenizer& tokenizer, const fs::path& file) {
    if (tokenizer.vocab_size() > vocab_size)
      fail(ErrorCode::kData, "{}: expected at most {} ids (the model's vocabulary), got {}", file.string(), vocab_size,
           tokenizer.vocab_size());
  };
  const auto saved = [&](std::optional<Tokenizer> tokenizer) {
    if (tokenizer) tokenizer->save((to / kTokenizerFile).string());
    return tokenizer;
  };
  const char* with_token_ids = "the model takes token ids only (score), no text";
  if (kind_of_path(from) == PathKind::kGguf) {
    if (!has_gguf_tokenizer(from)) {
      log::warning("{}: no tokenizer in it: {}. --tokenizer DIR names a folder with one", from.string(),
                   with_token_ids);
      return std::nullopt;
    }
    Tokenizer tokenizer = Tokenizer::load(from.string());
    check_size(tokenizer, from);
    return saved(std::move(tokenizer));
  }
  const auto exists = [&](const char* name) { return fs::is_regular_file(from / name); };
  if (exists("dict.txt")) copy_into(from / "dict.txt", to / "dict.txt");
  if (exists(kTokenizerFile)) {
    Tokenizer tokenizer = Tokenizer::load((from / kTokenizerFile).string());
    check_size(tokenizer, from / kTokenizerFile);
    for (const char* name : kTokenizerFiles)
      if (exists(name)) copy_into(from / name, to / name);
    return tokenizer;
  }
  if (exists(kSentencePieceFile)) {
    auto tokenizer =
        made_if_understood(with_token_ids, [&] { return Tokenizer::load((from / kSentencePieceFile).string()); });
    if (tokenizer) check_size(*tokenizer, from / kSentencePieceFile);
    return saved(std::move(tokenizer));
  }
  if (!exists("dict.txt")) {
    log::warning(
        "{}: no tokenizer.json, no tokenizer.model and no dict.txt: {}. --tokenizer DIR names a folder with one of "
        "them",
        from.string(), with_token_ids);
    return std::nullopt;
  }
  const std::string dictionary = (from / "dict.txt").string();
  const FairseqDictionary symbols = FairseqDictionary::load(dictionary);
  if (symbols.size() > vocab_size)
    fail(ErrorCode::kData, "{}: expected at most {} symbols ({} embedding rows), got {}", dictionary,
         vocab_size - FairseqDictionary::kFirst, vocab_size, symbols.symbols().size());
  if (!exists("encoder.json") || !exists("vocab.bpe")) {
    log::warning("{}: dict.txt without encoder.json and vocab.bpe (GPT-2's BPE): no tokenizer.json, {}", from.string(),
                 with_token_ids);
    return std::nullopt;
  }
  const TokenizerDefinition gpt2 = parse_gpt2_files(read_file(from / "encoder.json"), (from / "encoder.json").string(),
                                                    read_file(from / "vocab.bpe"), (from / "vocab.bpe").string());
  return saved(made_if_understood(with_token_ids, [&] { return Tokenizer(renumber(gpt2, symbols, dictionary)); }));
}

void publish_tokenizer(const Tokenizer& tokenizer, const fs::path& folder) {
  const std::string& model = tokenizer.definition().sentencepiece;
  if (model.empty()) return;
  write_file_atomically(folder / kSentencePieceFile, model);
  fs::remove(folder / kTokenizerFile);
}

}  // namespace troupe
