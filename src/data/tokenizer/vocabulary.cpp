#include "data/tokenizer/vocabulary.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/token_names.h"

namespace troupe {

using Kind = TokenizerDefinition::Kind;

void VocabularyBuilder::reserve_id(int64_t id, const std::string& where) {
  if (id < 0 || id > kMaxTokenId)
    fail(ErrorCode::kData, "{}: expected an id from 0 to {}, got {}", where, kMaxTokenId, id);
  if (static_cast<size_t>(id) >= definition_.tokens.size()) definition_.tokens.resize(static_cast<size_t>(id) + 1);
}

void VocabularyBuilder::add_token(std::string_view name, int64_t id) {
  const std::string where = fmt::format("{}: \"{}\"", where_, name);
  if (name.empty()) fail(ErrorCode::kData, "{}: expected a token of at least one character", where);
  reserve_id(id, where);
  TokenizerDefinition::Token& token = definition_.tokens[static_cast<size_t>(id)];
  if (token.kind != Kind::kNone)
    fail(ErrorCode::kData, "{}: expected an id of its own, got {}, which is also that of \"{}\"", where, id,
         token.bytes);
  if (!ids_.emplace(name, static_cast<int32_t>(id)).second)
    fail(ErrorCode::kData, "{}: expected each token once, got it twice", where);
  token = {Kind::kModel, std::string(name)};  // the bytes follow in finish()
}

int32_t VocabularyBuilder::find(std::string_view name) const {
  const auto found = ids_.find(std::string(name));
  return found == ids_.end() ? -1 : found->second;
}

int32_t VocabularyBuilder::require(std::string_view name, const std::string& where) const {
  const int32_t id = find(name);
  if (id < 0) fail(ErrorCode::kData, "{}: expected tokens of the vocabulary, got \"{}\"", where, name);
  return id;
}

void VocabularyBuilder::add_merge(std::string_view left, std::string_view right, const std::string& where) {
  const int32_t left_id = require(left, where), right_id = require(right, where);
  const int32_t result = require(std::string(left) + std::string(right), where);
  const auto rank = static_cast<int32_t>(definition_.merges.size());
  if (const int32_t first = pairs_.insert(left_id, right_id, rank); first != rank)
    fail(ErrorCode::kData, "{}: expected each merge once, got \"{}\" and \"{}\" again (first as number {})", where,
         left, right, first);
  definition_.merges.push_back({left_id, right_id, result});
}

void VocabularyBuilder::add_added_token(AddedToken token, const std::string& where) {
  if (token.content.empty()) fail(ErrorCode::kData, "{}.content: expected at least one character, got none", where);
  for (const AddedToken& other : definition_.added)
    if (other.content == token.content)
      fail(ErrorCode::kData, "{}.content: expected each token once, got \"{}\" again", where, token.content);
  const int32_t known = find(token.content);
  if (known >= 0 && known != token.id)
    fail(ErrorCode::kData, "{}.id: expected {} as in the vocabulary, got {}", where, known, token.id);
  if (known < 0) {
    reserve_id(token.id, where + ".id");
    TokenizerDefinition::Token& entry = definition_.tokens[static_cast<size_t>(token.id)];
    if (entry.kind != Kind::kNone)
      fail(ErrorCode::kData, "{}.id: expected an id of its own, got {}, which is also that of \"{}\"", where, token.id,
           entry.bytes);
    entry = {Kind::kAddedOnly, token.content};
  }
  definition_.added.push_back(std::move(token));
}

void VocabularyBuilder::finish() {
  definition_.byte_level() ? finish_byte_level() : finish_characters();
  // A token that is found in normalised text stands for normalised text.
  for (const AddedToken& added : definition_.added) {
    std::string storage;
    if (!added.normalized) continue;
    const std::string_view normalised = normalize(definition_.normalizers, added.content, storage);
    if (normalised == added.content) continue;
    if (normalised.empty())
      fail(ErrorCode::kData, "{}: added token \"{}\": expected one that normalizers leave something of, got none",
           where_, added.content);
    TokenizerDefinition::Token& token = definition_.tokens[static_cast<size_t>(added.id)];
    token.bytes = decoded_name(definition_.decoders, storage);
    token.name = added.content;
  }
}

// What Hugging Face tokenizers does with bytes that have no token: unk_token stands for them, or nothing does.
void VocabularyBuilder::stand_in_for(const std::vector<int>& bytes) {
  if (bytes.empty()) return;
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 4); ++i)
    list += fmt::format("{}0x{:02x}", i ? ", " : "", bytes[i]);
  if (bytes.size() > 4) list += ", ...";
  const std::string& unknown = definition_.unk_token;
  const int32_t id = unknown.empty() ? -1 : find(unknown);
  if (!unknown.empty() && id < 0)
    fail(ErrorCode::kData,
         "{}: expected a token for each byte (none for {}), or unk_token among them, got unk_token \"{}\"", where_,
         list, unknown);
  if (id >= 0 && definition_.fuse_unk)
    fail(ErrorCode::kData, "{}: expected a token for each byte (none for {}), or fuse_unk false, got true", where_,
         list);
  for (const int byte : bytes) definition_.byte_ids[static_cast<size_t>(byte)] = id;
  log::warning("{}: {} of the 256 bytes have no token ({}): {} in a text, as in Hugging Face tokenizers", where_,
               bytes.size(), list, id < 0 ? std::string("they are left out") : unknown + " stands for them");
}

void VocabularyBuilder::finish_byte_level() {
  std::vector<bool> is_added(definition_.tokens.size());
  for (const AddedToken& token : definition_.added) is_added[static_cast<size_t>(token.id)] = true;
  std::vector<bool> merged(definition_.tokens.size());  // BPE can produce it
  std::vector<int> missing;
  for (int byte = 0; byte < 256; ++byte) {
    const int32_t id = find(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
    definition_.byte_ids[static_cast<size_t>(byte)] = id;
    if (id >= 0)
      merged[static_cast<size_t>(id)] = true;
    else
      missing.push_back(byte);
  }
  stand_in_for(missing);
  for (const Merge& merge : definition_.merges) merged[static_cast<size_t>(merge.result)] = true;
  for (size_t id = 0; id < definition_.tokens.size(); ++id) {
    TokenizerDefinition::Token& token = definition_.tokens[id];
    if (token.kind != Kind::kModel) continue;
    std::optional<std::string> bytes = from_byte_alphabet(token.bytes);
    if (is_added[id]) {  // stands for its content as it is, which must not differ from what the model makes of it
      if (bytes != token.bytes && (merged[id] || (bytes && definition_.ignore_merges)))
        fail(ErrorCode::kData,
             "{}: \"{}\": expected a token that is either added or part of words, got one that is both", where_,
             token.bytes);
      continue;
    }
    if (!bytes)
      fail(ErrorCode::kData,
           "{}: \"{}\": expected characters of the byte alphabet (GPT-2's byte-level kind), got others", where_,
           token.bytes);
    token.bytes = std::move(*bytes);
  }
}

void VocabularyBuilder::finish_characters() {
  const bool has_bytes = !definition_.unigram || definition_.unigram->byte_fallback;
  for (int byte = 0; has_bytes && byte < 256; ++byte) {
    const std::string name = fmt::format("<0x{:02X}>", byte);
    int32_t& id = definition_.byte_ids[static_cast<size_t>(byte)] = find(name);
    if (id < 0 && byte < 0x80) id = find(std::string(1, static_cast<char>(byte)));  // text has it as a character alone
    if (id < 0) fail(ErrorCode::kData, "{}: expected a token for each of the 256 bytes, got none for {}", where_, name);
  }
  for (size_t id = 0; id < definition_.tokens.size(); ++id) {
    TokenizerDefinition::Token& token = definition_.tokens[id];
    if (token.kind == Kind::kModel && first_character(token.bytes).size() == token.bytes.size())
      definition_.characters.emplace_back(code_point(token.bytes), static_cast<int32_t>(id));
    std::string bytes = decoded_name(definition_.decoders, token.bytes);
    if (bytes != token.bytes) token.name = std::exchange(token.bytes, std::move(bytes));
  }
}

}  // namespace troupe
