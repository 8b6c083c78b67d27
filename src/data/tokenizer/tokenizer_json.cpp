// tokenizer.json: the parts that this tokenizer executes are read; every other setting is refused unless it is off.
#include <simdjson.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/json_value.h"
#include "data/tokenizer/oniguruma.h"
#include "data/tokenizer/vocabulary.h"
#include "io/json_text.h"

namespace troupe {
namespace {

void require_absent_or_null(const JsonValue& object, std::string_view key) {
  if (const auto value = object.find(key); value && !value->is_null()) value->refuse("null");
}

void require_absent_or_false(const JsonValue& object, std::string_view key) {
  if (const auto value = object.find(key); value && value->boolean()) value->refuse("false");
}

void require_absent_or_empty(const JsonValue& object, std::string_view key) {
  if (const auto value = object.find(key); value && !value->is_null() && !value->string().empty())
    value->refuse("null or \"\"");
}

bool boolean_or(const JsonValue& object, std::string_view key, bool otherwise) {
  const auto value = object.find(key);
  return value ? value->boolean() : otherwise;
}

void require_type(const JsonValue& object, std::string_view type) {
  if (const JsonValue value = object.at("type"); value.string() != type) value.refuse(fmt::format("\"{}\"", type));
}

// {"type": "ByteLevel", ...}; returns use_regex.
bool read_byte_level(const JsonValue& object, bool* add_prefix_space) {
  require_type(object, "ByteLevel");
  object.require_known_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  boolean_or(object, "trim_offsets", true);  // about offsets, which are not computed here
  const bool prefix = boolean_or(object, "add_prefix_space", true);
  if (add_prefix_space) *add_prefix_space = prefix;
  return boolean_or(object, "use_regex", true);
}

void read_pre_tokenizer(const JsonValue& object, TokenizerDefinition& definition) {
  const JsonValue type = object.at("type");
  if (type.string() == "ByteLevel") {
    if (!read_byte_level(object, &definition.add_prefix_space))
      object.at("use_regex").refuse("true (or a Split before it, in a Sequence)");
    return;
  }
  if (type.string() != "Sequence") type.refuse("\"ByteLevel\" or a \"Sequence\" of Split and ByteLevel");
  object.require_known_keys({"type", "pretokenizers"});
  const JsonValue list = object.at("pretokenizers");
  std::vector<JsonValue> items;
  list.for_each_item([&](const JsonValue& item) { items.push_back(item); });
  if (items.size() != 2) list.refuse("two of them, Split and ByteLevel");
  const JsonValue &split = items[0], &byte_level = items[1];

  require_type(split, "Split");
  split.require_known_keys({"type", "pattern", "behavior", "invert"});
  const JsonValue pattern = split.at("pattern");
  pattern.require_known_keys({"Regex"});
  definition.pattern = pattern.at("Regex").string();
  oniguruma_to_pcre2(definition.pattern, pattern.at("Regex").where());
  if (const JsonValue behavior = split.at("behavior"); behavior.string() != "Isolated") behavior.refuse("\"Isolated\"");
  require_absent_or_false(split, "invert");
  bool add_prefix_space = false;
  if (read_byte_level(byte_level, &add_prefix_space)) byte_level.refuse("use_regex false after a Split");
  if (add_prefix_space) byte_level.refuse("add_prefix_space false after a Split");
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

}  // namespace

TokenizerDefinition parse_tokenizer_json(std::string_view text, const std::string& where) {
  simdjson::dom::parser parser;
  const JsonValue root = JsonValue::parse(parser, text, where);
  root.require_known_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                           "post_processor", "decoder", "model"});
  if (const auto version = root.find("version"); version && version->string() != "1.0") version->refuse("\"1.0\"");
  require_absent_or_null(root, "truncation");
  require_absent_or_null(root, "padding");
  require_absent_or_null(root, "normalizer");

  const JsonValue model = root.at("model");
  model.require_known_keys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                            "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.find("type")) require_type(model, "BPE");  // early files leave it out
  require_absent_or_null(model, "dropout");
  require_absent_or_null(model, "unk_token");
  require_absent_or_empty(model, "continuing_subword_prefix");
  require_absent_or_empty(model, "end_of_word_suffix");
  boolean_or(model, "fuse_unk", false);  // concerns unk_token alone
  require_absent_or_false(model, "byte_fallback");

  TokenizerDefinition definition;
  definition.ignore_merges = boolean_or(model, "ignore_merges", false);
  read_pre_tokenizer(root.at("pre_tokenizer"), definition);
  read_byte_level(root.at("decoder"), nullptr);
  if (const auto post = root.find("post_processor"); post && !post->is_null()) read_byte_level(*post, nullptr);

  VocabularyBuilder builder(definition, model.at("vocab").where());
  read_vocabulary(model, builder);
  if (const auto added = root.find("added_tokens"))
    added->for_each_item([&](const JsonValue& token) { read_added_token(token, builder); });
  read_merges(model, builder);
  builder.finish();
  return definition;
}

std::string tokenizer_json(const TokenizerDefinition& definition) {
  using Json = nlohmann::ordered_json;
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
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", definition.add_prefix_space},
                           {"trim_offsets", true},
                           {"use_regex", definition.pattern == kGpt2Pattern}};
  Json pre_tokenizer = byte_level;
  if (definition.pattern != kGpt2Pattern) {
    const Json split = {
        {"type", "Split"}, {"pattern", {{"Regex", definition.pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}};
  }
  const auto name = [&](int32_t id) {
    const std::string& bytes = definition.tokens[static_cast<size_t>(id)].bytes;
    return is_added[static_cast<size_t>(id)] ? bytes : to_byte_alphabet(bytes);
  };
  Json merges = Json::array();
  for (const Merge& merge : definition.merges) merges.push_back(name(merge.left) + " " + name(merge.right));
  // Written by hand around json_file_text(): an ordered_json object of 50,000 keys takes quadratic time.
  std::string vocab;
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].kind != TokenizerDefinition::Kind::kModel) continue;
    const std::string key = json_text(Json(name(static_cast<int32_t>(id))));
    vocab += fmt::format("{}\n   {}: {}", vocab.empty() ? "" : ",", key, id);
  }
  Json root = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", std::move(added)},
               {"normalizer", nullptr},
               {"pre_tokenizer", std::move(pre_tokenizer)},
               {"post_processor", byte_level},
               {"decoder", byte_level},
               {"model",
                {{"type", "BPE"},
                 {"dropout", nullptr},
                 {"unk_token", nullptr},
                 {"continuing_subword_prefix", nullptr},
                 {"end_of_word_suffix", nullptr},
                 {"fuse_unk", false},
                 {"byte_fallback", false},
                 {"ignore_merges", definition.ignore_merges},
                 {"vocab", Json::object()},
                 {"merges", std::move(merges)}}}};
  std::string text = json_file_text(root);
  const std::string_view empty_vocab = "\"vocab\": {}";
  text.replace(text.rfind(empty_vocab), empty_vocab.size(), "\"vocab\": {" + vocab + "\n  }");
  return text;
}

}  // namespace troupe
