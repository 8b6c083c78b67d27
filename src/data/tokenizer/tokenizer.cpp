#include "data/tokenizer/tokenizer.h"

#include <filesystem>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "data/tokenizer/added_token_finder.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/word_cache.h"
#include "data/tokenizer/word_splitter.h"
#include "io/atomic_file.h"

namespace troupe {

struct Tokenizer::Tables {
  Tables(TokenizerDefinition source, const std::string& where)
      : definition(std::move(source)),
        bpe(definition.byte_ids, definition.merges),
        splitter(definition.pattern, where + ": pre_tokenizer"),
        added(definition.added, where) {
    for (size_t id = 0; id < definition.tokens.size(); ++id)
      if (definition.tokens[id].bytes == kEndOfText) end_of_text = static_cast<int32_t>(id);
    if (!definition.ignore_merges) return;
    std::vector<bool> in_words(definition.tokens.size(), true);
    for (const AddedToken& token : definition.added)
      in_words[static_cast<size_t>(token.id)] = from_byte_alphabet(token.content).has_value();
    for (size_t id = 0; id < definition.tokens.size(); ++id)
      if (in_words[id] && definition.tokens[id].kind == TokenizerDefinition::Kind::kModel)
        whole_words.emplace(definition.tokens[id].bytes, static_cast<int32_t>(id));
  }

  // What one thread needs while it encodes; kept for the next call, since its cache is warm.
  struct Worker {
    explicit Worker(const Tables& tables) : words(tables.splitter), added(tables.added) {}
    WordSplitter::Matcher words;
    AddedTokenFinder::Matcher added;
    WordCache cache;
  };

  TokenizerDefinition definition;
  Bpe bpe;
  WordSplitter splitter;
  AddedTokenFinder added;
  std::unordered_map<std::string_view, int32_t> whole_words;  // with ignore_merges; views into definition
  int32_t end_of_text = -1;

  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Worker>> idle;

  void encode_uncached(std::string_view word, std::vector<int32_t>& out) const {
    if (definition.ignore_merges) {
      if (const auto whole = whole_words.find(word); whole != whole_words.end()) return out.push_back(whole->second);
    }
    bpe.encode(word, out);
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

  void encode_text(std::string_view text, Worker& worker, std::vector<int32_t>& out) const {
    const char* const end = text.data() + text.size();
    worker.words.split(text, [&](std::string_view word) { encode_word(word, end, worker.cache, out); });
  }
};

Tokenizer::Tokenizer(TokenizerDefinition definition, const std::string& where)
    : tables_(std::make_shared<const Tables>(std::move(definition), where)) {}

Tokenizer Tokenizer::load(const std::string& path) {
  namespace fs = std::filesystem;
  const auto from_json = [](const fs::path& file) {
    return Tokenizer(parse_tokenizer_json(read_file(file), file.string()), file.string());
  };
  if (!fs::is_directory(path)) return from_json(path);
  const fs::path folder = path;
  if (fs::exists(folder / "tokenizer.json")) return from_json(folder / "tokenizer.json");
  for (const auto& [vocab, merges] : {std::pair("encoder.json", "vocab.bpe"), std::pair("vocab.json", "merges.txt")})
    if (fs::exists(folder / vocab) && fs::exists(folder / merges))
      return Tokenizer(parse_gpt2_files(read_file(folder / vocab), (folder / vocab).string(),
                                        read_file(folder / merges), (folder / merges).string()),
                       (folder / vocab).string());
  fail(ErrorCode::kData,
       "{}: expected tokenizer.json, or encoder.json with vocab.bpe, or vocab.json with merges.txt, got none of them",
       path);
}

void Tokenizer::save(const std::string& path) const {
  write_file_atomically(path, tokenizer_json(tables_->definition));
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

  std::string prefixed;
  const auto part = [&](std::string_view part_text) {
    if (tables_->definition.add_prefix_space && !part_text.empty() && part_text.front() != ' ') {
      prefixed.assign(1, ' ').append(part_text);
      part_text = prefixed;
    }
    tables_->encode_text(part_text, *worker, ids);
  };
  if (added == AddedTokens::kMatch)
    worker->added.split(text, part, [&](int32_t id) { ids.push_back(id); });
  else
    part(text);

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
  return text;
}

int32_t Tokenizer::find_token(std::string_view bytes) const {
  const auto& tokens = tables_->definition.tokens;
  for (size_t id = 0; id < tokens.size(); ++id)
    if (tokens[id].kind != TokenizerDefinition::Kind::kNone && tokens[id].bytes == bytes)
      return static_cast<int32_t>(id);
  return -1;
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

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(tables_->definition.tokens.size()); }
int32_t Tokenizer::end_of_text() const { return tables_->end_of_text; }
const TokenizerDefinition& Tokenizer::definition() const { return tables_->definition; }

}  // namespace troupe
