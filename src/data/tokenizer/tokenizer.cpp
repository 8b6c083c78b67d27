#include "data/tokenizer/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "data/tokenizer/added_token_finder.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/gguf_tokenizer.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/token_names.h"
#include "data/tokenizer/word_cache.h"
#include "data/tokenizer/word_pipeline.h"
#include "io/atomic_file.h"
#include "io/path_kind.h"
#include "io/tokenizer_files.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// Vocabulary and merges of GPT-2's kind; empty paths if there are none.
std::pair<fs::path, fs::path> gpt2_files(const fs::path& folder) {
  for (const auto& [vocab, merges] : {std::pair("encoder.json", "vocab.bpe"), std::pair("vocab.json", "merges.txt")})
    if (fs::exists(folder / vocab) && fs::exists(folder / merges)) return {folder / vocab, folder / merges};
  return {};
}

}  // namespace

struct Tokenizer::Tables {
  Tables(TokenizerDefinition source, const std::string& where)
      : definition(std::move(source)),
        bpe(definition.byte_ids, definition.merges, definition.characters),
        words(definition.pre_tokenizers, where + ": pre_tokenizer"),
        added(definition.added, definition.normalizers),
        cut_at_metaspaces(!definition.byte_level() && !definition.unigram && no_token_goes_past_metaspace()) {
    if (definition.unigram) {
      std::vector<std::string_view> names;
      for (const UnigramModel::Piece& piece : definition.unigram->pieces)
        names.push_back(name_of(definition.tokens[static_cast<size_t>(piece.id)]));
      unigram.emplace(*definition.unigram, names, definition.byte_ids);
    }
    end_of_text = id_of(kEndOfText);
    if (const std::string& token = definition.config.eos_token; !token.empty()) {
      end_of_text = id_of(token);
      if (end_of_text < 0)
        fail(ErrorCode::kData, "{}: eos_token in {} beside it: expected one of its tokens, got \"{}\"", where,
             kTokenizerConfigFile, token);
    }
    std::vector<int32_t>* side = &prefix;
    for (const TextTemplate::Piece& piece : definition.around.single) {
      if (piece.is_text) {
        side = &suffix;
        continue;
      }
      const std::vector<int32_t>& ids = definition.around.special_tokens.at(piece.name).ids;
      side->insert(side->end(), ids.begin(), ids.end());
    }
    if (!definition.ignore_merges) return;
    std::vector<bool> in_words(definition.tokens.size(), true);
    for (const AddedToken& token : definition.added)
      in_words[static_cast<size_t>(token.id)] =
          !definition.byte_level() || from_byte_alphabet(token.content).has_value();
    for (size_t id = 0; id < definition.tokens.size(); ++id)
      if (in_words[id] && definition.tokens[id].kind == TokenizerDefinition::Kind::kModel)
        whole_words.emplace(name_of(definition.tokens[id]), static_cast<int32_t>(id));
  }

  // The last one, -1 if there is none.
  int32_t id_of(std::string_view name) const {
    for (size_t id = definition.tokens.size(); id-- > 0;)
      if (definition.tokens[id].kind != TokenizerDefinition::Kind::kNone && name_of(definition.tokens[id]) == name)
        return static_cast<int32_t>(id);
    return -1;
  }

  // What words are made of: bytes, or names without byte_level().
  static const std::string& name_of(const TokenizerDefinition::Token& token) {
    return token.name.empty() ? token.bytes : token.name;
  }

  // Whether no merge joins U+2581 to something else before it (SentencePiece's "split by whitespace"): then a word may
  // be cut there, and its parts remembered.
  bool no_token_goes_past_metaspace() const {
    const auto goes_past = [&](const TokenizerDefinition::Token& token) {
      const std::string& name = name_of(token);
      for (size_t at = 1; (at = name.find(kMetaspace, at)) != name.npos; at += kMetaspace.size())
        if (!std::string_view(name).substr(0, at).ends_with(kMetaspace)) return true;
      return false;
    };
    if (definition.ignore_merges) return std::none_of(definition.tokens.begin(), definition.tokens.end(), goes_past);
    return std::none_of(definition.merges.begin(), definition.merges.end(), [&](const Merge& merge) {
      return goes_past(definition.tokens[static_cast<size_t>(merge.result)]);
    });
  }

  // What one thread needs while it encodes; kept for the next call, since its cache is warm.
  struct Worker {
    explicit Worker(const Tables& tables) : words(tables.words), added(tables.added) {}
    WordPipeline::Matcher words;
    AddedTokenFinder::Matcher added;
    WordCache cache;
  };

  TokenizerDefinition definition;
  Bpe bpe;
  std::optional<Unigram> unigram;  // in its place
  WordPipeline words;
  AddedTokenFinder added;
  bool cut_at_metaspaces;
  std::vector<int32_t> prefix, suffix;
  std::unordered_map<std::string_view, int32_t> whole_words;  // with ignore_merges; views into definition
  int32_t end_of_text = -1;

  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Worker>> idle;

  void encode_uncached(std::string_view word, std::vector<int32_t>& out) const {
    if (definition.ignore_merges) {
      if (const auto whole = whole_words.find(word); whole != whole_words.end()) return out.push_back(whole->second);
    }
    unigram ? unigram->encode(word, out) : bpe.encode(word, out);
  }

  // `end` is the end of the readable memory around `word`.
  void encode_word(std::string_view word, const char* end, WordCache& cache, std::vector<int32_t>& out) const {
    if (word.size() > WordCache::kMaxBytes) return encode_uncached(word, out);
    const WordCache::Key key = WordCache::key_of(word, end);
    WordCache::Slot& slot = cache.slot(key);
    if (!WordCache::holds(slot, key)) {
      const size_t before = out.size();
      encode_uncached(word, out);
      const std::span<const int32_t> added_ids(out.data() + before, out.size() - before);
      if (added_ids.size() <= WordCache::kMaxIds) WordCache::store(slot, key, added_ids);
      return;
    }
    for (int32_t i = 0; i < slot.count; ++i) out.push_back(slot.ids[i]);
  }

  void encode_text(std::string_view text, bool first, Worker& worker, std::vector<int32_t>& out) const {
    worker.words.split(text, first, [&](std::string_view word, const char* end) {
      if (cut_at_metaspaces) {
        for (size_t at = 1; (at = word.find(kMetaspace, at)) != word.npos;) {
          if (word.substr(0, at).ends_with(kMetaspace)) {
            at += kMetaspace.size();
            continue;
          }
          encode_word(word.substr(0, at), end, worker.cache, out);
          word.remove_prefix(at);
          at = 1;
        }
      }
      encode_word(word, end, worker.cache, out);
    });
  }
};

Tokenizer::Tokenizer(TokenizerDefinition definition, const std::string& where)
    : tables_(std::make_shared<const Tables>(std::move(definition), where)) {}

bool Tokenizer::is_sentencepiece(const std::string& folder) {
  const fs::path within = folder;
  return fs::exists(within / kSentencePieceFile) && !fs::exists(within / kTokenizerFile) &&
         gpt2_files(within).first.empty();
}

Tokenizer Tokenizer::load(const std::string& path) {
  const auto from_json = [](const fs::path& file) {
    TokenizerDefinition definition = parse_tokenizer_json(read_file(file), file.string());
    definition.config = read_tokenizer_config(file.parent_path());
    return Tokenizer(std::move(definition), file.string());
  };
  if (kind_of_path(path) == PathKind::kGguf) return Tokenizer(read_gguf_tokenizer(GgufFile(path)), path);
  const auto from_sentencepiece = [](const fs::path& file) {
    TokenizerDefinition definition = parse_sentencepiece(read_file(file), file.string());
    TokenizerConfig config = read_tokenizer_config(file.parent_path());
    fill_tokenizer_config(config, definition.config);
    definition.config = std::move(config);
    return Tokenizer(std::move(definition), file.string());
  };
  if (!fs::is_directory(path))
    return fs::path(path).extension() == ".model" ? from_sentencepiece(path) : from_json(path);
  const fs::path folder = path;
  if (fs::exists(folder / kTokenizerFile)) return from_json(folder / kTokenizerFile);
  if (const auto [vocab, merges] = gpt2_files(folder); !vocab.empty())
    return Tokenizer(parse_gpt2_files(read_file(vocab), vocab.string(), read_file(merges), merges.string()),
                     vocab.string());
  if (fs::exists(folder / kSentencePieceFile)) return from_sentencepiece(folder / kSentencePieceFile);
  fail(ErrorCode::kData,
       "{}: expected tokenizer.json, or encoder.json with vocab.bpe, or vocab.json with merges.txt, or "
       "tokenizer.model, got none of them",
       path);
}

void Tokenizer::save(const std::string& path) const {
  write_file_atomically(path, tokenizer_json(tables_->definition));
  write_tokenizer_config(std::filesystem::path(path).parent_path(), tables_->definition.config);
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& ids, AddedTokens added) const {
  std::unique_ptr<Tables::Worker> worker;
  {
    const std::lock_guard lock(tables_->mutex);
    if (!tables_->idle.empty()) {
      worker = std::move(tables_->idle.back());
      tables_->idle.pop_back();
    }
  }
  if (!worker) worker = std::make_unique<Tables::Worker>(*tables_);

  const auto part = [&](std::string_view piece, bool first) { tables_->encode_text(piece, first, *worker, ids); };
  if (added == AddedTokens::kMatch)
    worker->added.split(text, part, [&](int32_t id) { ids.push_back(id); });
  else
    worker->added.as_text(text, part);

  const std::lock_guard lock(tables_->mutex);
  tables_->idle.push_back(std::move(worker));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, AddedTokens added) const {
  std::vector<int32_t> ids;
  encode(text, ids, added);
  return ids;
}

const std::string& Tokenizer::token_bytes(int32_t id) const {
  const auto& tokens = tables_->definition.tokens;
  if (id < 0 || static_cast<size_t>(id) >= tokens.size())
    fail(ErrorCode::kData, "token id: expected 0 to {}, got {}", static_cast<int64_t>(tokens.size()) - 1, id);
  const auto& token = tokens[static_cast<size_t>(id)];
  if (token.kind == TokenizerDefinition::Kind::kNone)
    fail(ErrorCode::kData, "token id: expected an id of the vocabulary, got {}, which no token has", id);
  return token.bytes;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  text.reserve(ids.size() * 5);
  for (const int32_t id : ids) text += token_bytes(id);
  return ids.empty() ? text : without_opening(definition().decoders, std::move(text), token_bytes(ids[0]).size());
}

std::vector<int32_t> Tokenizer::text_ids() const {
  const TokenizerDefinition& definition = tables_->definition;
  std::vector<bool> special(definition.tokens.size());
  for (const AddedToken& token : definition.added) special[static_cast<size_t>(token.id)] = token.special;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < definition.tokens.size(); ++id)
    if (definition.tokens[id].kind != TokenizerDefinition::Kind::kNone && !special[id])
      ids.push_back(static_cast<int32_t>(id));
  return ids;
}

const std::vector<int32_t>& Tokenizer::prefix() const { return tables_->prefix; }
const std::vector<int32_t>& Tokenizer::suffix() const { return tables_->suffix; }
int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(tables_->definition.tokens.size()); }
int32_t Tokenizer::end_of_text() const { return tables_->end_of_text; }
const TokenizerDefinition& Tokenizer::definition() const { return tables_->definition; }

}  // namespace troupe
