// tokenizer.json: the parts that this tokenizer executes are read; every other setting is refused unless it is off.
// What is around the model: pipeline_json.h.
#include <simdjson.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/error.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/json_value.h"
#include "data/tokenizer/pipeline_json.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/vocabulary.h"
#include "io/json_text.h"

namespace troupe {
namespace {

void require_absent_or_empty(const JsonValue& object, std::string_view key) {
  if (const auto value = object.find(key); value && !value->is_null() && !value->string().empty())
    value->refuse("null or \"\"");
}

void read_vocabulary(const JsonValue& model, VocabularyBuilder& builder) {
  model.at("vocab").for_each_field(
      [&](std::string_view name, const JsonValue& id) { builder.add_token(name, id.integer()); });
}

void read_merges(const JsonValue& model, VocabularyBuilder& builder) {
  model.at("merges").for_each_item([&](const JsonValue& merge) {
    if (merge.is_string()) {
      const std::string_view text = merge.string();
      const size_t space = text.find(' ');
      if (space == text.npos || text.find(' ', space + 1) != text.npos)
        merge.refuse("two tokens separated by one space");
      return builder.add_merge(text.substr(0, space), text.substr(space + 1), merge.where());
    }
    std::vector<std::string_view> pair;
    if (!merge.is_array()) merge.refuse("\"LEFT RIGHT\" or [\"LEFT\", \"RIGHT\"]");
    merge.for_each_item([&](const JsonValue& token) { pair.push_back(token.string()); });
    if (pair.size() != 2) merge.refuse("two tokens");
    builder.add_merge(pair[0], pair[1], merge.where());
  });
}

void read_added_token(const JsonValue& object, VocabularyBuilder& builder) {
  object.require_known_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  require_absent_or_false(object, "single_word");
  AddedToken token;
  const int64_t id = object.at("id").integer();
  if (id < 0 || id > kMaxTokenId) object.at("id").refuse(fmt::format("an id from 0 to {}", kMaxTokenId));
  token.id = static_cast<int32_t>(id);
  token.content = object.at("content").string();
  token.special = object.at("special").boolean();
  token.normalized = boolean_or(object, "normalized", !token.special);
  token.lstrip = boolean_or(object, "lstrip", false);
  token.rstrip = boolean_or(object, "rstrip", false);
  builder.add_added_token(std::move(token), object.where());
}

// What stands for text without tokens (VocabularyBuilder::finish()).
void read_unknown(const JsonValue& model, TokenizerDefinition& definition) {
  if (const auto unknown = model.find("unk_token"); unknown && !unknown->is_null())
    definition.unk_token = unknown->string();
  definition.fuse_unk = boolean_or(model, "fuse_unk", false);
  if (definition.byte_level()) return require_absent_or_false(model, "byte_fallback");
  if (!boolean_or(model, "byte_fallback", false))
    fail(ErrorCode::kData, "{}: byte_fallback: expected true (or a ByteLevel as decoder), got false", model.where());
  for (const TokenDecoder& step : definition.decoders)
    if (step.kind == TokenDecoder::Kind::kByteFallback) return;
  fail(ErrorCode::kData, "{}: byte_fallback: expected a ByteFallback in the decoder, got none", model.where());
}

void check_template(const JsonValue& root, const TokenizerDefinition& definition) {
  for (const auto& [name, token] : definition.around.special_tokens)
    for (const int32_t id : token.ids)
      if (static_cast<size_t>(id) >= definition.tokens.size() ||
          definition.tokens[static_cast<size_t>(id)].kind == TokenizerDefinition::Kind::kNone)
        fail(ErrorCode::kData, "{}: special_tokens.{}: expected ids of tokens, got {}",
             root.at("post_processor").where(), name, id);
}

// [["<unk>", 0.0], ...]: the place of a piece is its id. Special tokens are found as added tokens alone, so that text
// like one of them is text.
void read_unigram_vocabulary(const JsonValue& model, VocabularyBuilder& builder, UnigramModel& unigram) {
  double lowest = std::numeric_limits<double>::infinity();
  model.at("vocab").for_each_item([&](const JsonValue& item) {
    std::optional<std::string_view> name;
    std::optional<double> score;
    if (!item.is_array()) item.refuse("[\"PIECE\", SCORE]");
    item.for_each_item([&](const JsonValue& part) {
      if (!name)
        name = part.string();
      else if (!score)
        score = part.number();
      else
        item.refuse("[\"PIECE\", SCORE]");
    });
    if (!score) item.refuse("[\"PIECE\", SCORE]");
    const auto id = static_cast<int32_t>(unigram.pieces.size());
    builder.add_token(*name, id);
    unigram.pieces.push_back({id, *score});
    lowest = std::min(lowest, *score);
  });
  unigram.lowest_score = lowest;
  const JsonValue unknown = model.at("unk_id");
  if (unknown.is_null() || unknown.integer() < 0 || unknown.integer() >= std::ssize(unigram.pieces))
    unknown.refuse("the place of a piece in vocab");
  unigram.unknown = static_cast<int32_t>(unknown.integer());
}

void leave_out_special(TokenizerDefinition& definition) {
  for (const AddedToken& token : definition.added)
    if (token.special && token.id < std::ssize(definition.unigram->pieces))
      definition.unigram->pieces[static_cast<size_t>(token.id)].in_text = false;
}

// A tokenizer.model within a tokenizer.json: ours alone, which Hugging Face tokenizers refuses.
constexpr const char* kSentencePieceModel = "SentencePiece";
constexpr std::string_view kUnigramType = "Unigram", kBpeType = "BPE";

TokenizerDefinition read_sentencepiece(const JsonValue& model) {
  model.require_known_keys({"type", "file"});
  const JsonValue file = model.at("file");
  return parse_sentencepiece(file.base64(), file.where());
}

}  // namespace

TokenizerDefinition parse_tokenizer_json(std::string_view text, const std::string& where) {
  simdjson::dom::parser parser;
  const JsonValue root = JsonValue::parse(parser, text, where);
  root.require_known_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                           "post_processor", "decoder", "model"});
  if (const auto version = root.find("version"); version && version->string() != "1.0") version->refuse("\"1.0\"");
  require_absent_or_null(root, "truncation");
  require_absent_or_null(root, "padding");

  const JsonValue model = root.at("model");
  const std::optional<JsonValue> type = model.find("type");
  const std::string_view kind = type ? type->string() : kBpeType;  // early files leave it out
  if (kind == kSentencePieceModel) return read_sentencepiece(model);
  const bool is_unigram = kind == kUnigramType;
  if (is_unigram)
    model.require_known_keys({"type", "unk_id", "vocab", "byte_fallback"});
  else
    model.require_known_keys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (!is_unigram && kind != kBpeType) type->refuse("\"BPE\" or \"Unigram\"");
  require_absent_or_null(model, "dropout");
  require_absent_or_empty(model, "continuing_subword_prefix");
  require_absent_or_empty(model, "end_of_word_suffix");

  TokenizerDefinition definition;
  definition.ignore_merges = boolean_or(model, "ignore_merges", false);
  read_pipeline(root, definition);
  if (is_unigram)
    definition.unigram = UnigramModel{.byte_fallback = boolean_or(model, "byte_fallback", false)};
  else
    read_unknown(model, definition);
  if (is_unigram && definition.byte_level()) root.at("decoder").refuse("no ByteLevel with Unigram");

  VocabularyBuilder builder(definition, model.at("vocab").where());
  is_unigram ? read_unigram_vocabulary(model, builder, *definition.unigram) : read_vocabulary(model, builder);
  if (const auto added = root.find("added_tokens"))
    added->for_each_item([&](const JsonValue& token) { read_added_token(token, builder); });
  if (is_unigram)
    leave_out_special(definition);
  else
    read_merges(model, builder);
  builder.finish();
  check_template(root, definition);
  return definition;
}

std::string tokenizer_json(const TokenizerDefinition& definition) {
  using Json = nlohmann::ordered_json;
  if (!definition.sentencepiece.empty())
    return json_file_text(Json{
        {"version", "1.0"}, {"model", {{"type", kSentencePieceModel}, {"file", to_base64(definition.sentencepiece)}}}});
  std::vector<bool> is_added(definition.tokens.size());
  Json added = Json::array();
  for (const AddedToken& token : definition.added) {
    is_added[static_cast<size_t>(token.id)] = true;
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", false},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  const auto name = [&](int32_t id) {
    const auto& [kind, bytes, other_name] = definition.tokens[static_cast<size_t>(id)];
    if (!other_name.empty()) return other_name;
    return is_added[static_cast<size_t>(id)] || !definition.byte_level() ? bytes : to_byte_alphabet(bytes);
  };
  Json merges = Json::array();
  for (const Merge& merge : definition.merges) merges.push_back(name(merge.left) + " " + name(merge.right));
  // Written by hand around json_file_text(): an ordered_json object of 50,000 keys takes quadratic time.
  std::string vocab;
  const bool is_unigram = definition.unigram.has_value();
  for (size_t i = 0; is_unigram && i < definition.unigram->pieces.size(); ++i) {
    const UnigramModel::Piece& piece = definition.unigram->pieces[i];
    vocab += fmt::format("{}\n   {}", i > 0 ? "," : "", json_text(Json::array({name(piece.id), piece.score})));
  }
  for (size_t id = 0; !is_unigram && id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].kind != TokenizerDefinition::Kind::kModel) continue;
    const std::string key = json_text(Json(name(static_cast<int32_t>(id))));
    vocab += fmt::format("{}\n   {}: {}", vocab.empty() ? "" : ",", key, id);
  }
  Json root = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", std::move(added)},
               {"normalizer", normalizer_json(definition)},
               {"pre_tokenizer", pre_tokenizer_json(definition)},
               {"post_processor", post_processor_json(definition)},
               {"decoder", decoder_json(definition)},
               {"model",
                {{"type", "BPE"},
                 {"dropout", nullptr},
                 {"unk_token", definition.unk_token.empty() ? Json() : Json(definition.unk_token)},
                 {"continuing_subword_prefix", nullptr},
                 {"end_of_word_suffix", nullptr},
                 {"fuse_unk", definition.fuse_unk && !definition.unk_token.empty()},
                 {"byte_fallback", !definition.byte_level()},
                 {"ignore_merges", definition.ignore_merges},
                 {"vocab", Json::object()},
                 {"merges", std::move(merges)}}}};
  if (is_unigram)
    root["model"] = {{"type", kUnigramType},
                     {"unk_id", definition.unigram->unknown},
                     {"vocab", Json::object()},
                     {"byte_fallback", definition.unigram->byte_fallback}};
  std::string text = json_file_text(root);
  const std::string_view empty_vocab = "\"vocab\": {}";
  text.replace(text.rfind(empty_vocab), empty_vocab.size(),
               fmt::format("\"vocab\": {}{}\n  {}", is_unigram ? '[' : '{', vocab, is_unigram ? ']' : '}'));
  return text;
}

}  // namespace troupe
