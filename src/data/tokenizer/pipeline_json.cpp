#include "data/tokenizer/pipeline_json.h"

#include <algorithm>
#include <functional>

#include "base/base64.h"
#include "base/utf8.h"
#include "data/tokenizer/charsmap.h"
#include "data/tokenizer/oniguruma.h"
#include "data/tokenizer/regex.h"

namespace troupe {
namespace {

using Json = nlohmann::ordered_json;

// A name for each value of an enumeration, as files have it.
template <class Enum>
struct Spelling {
  const char* name;
  Enum value;
};
constexpr Spelling<SplitBehavior> kBehaviors[] = {{"Isolated", SplitBehavior::kIsolated},
                                                  {"Removed", SplitBehavior::kRemoved},
                                                  {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
                                                  {"MergedWithNext", SplitBehavior::kMergedWithNext},
                                                  {"Contiguous", SplitBehavior::kContiguous}};
constexpr Spelling<PreTokenizer::Prepend> kPrepends[] = {{"first", PreTokenizer::Prepend::kFirst},
                                                         {"always", PreTokenizer::Prepend::kAlways},
                                                         {"never", PreTokenizer::Prepend::kNever}};

template <class Enum, size_t N>
Enum read_spelling(const JsonValue& value, const Spelling<Enum> (&spellings)[N]) {
  std::string names;
  for (const auto& [name, meaning] : spellings) {
    if (value.string() == name) return meaning;
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", name);
  }
  value.refuse("one of " + names);
}
template <class Enum, size_t N>
const char* spelling_of(Enum value, const Spelling<Enum> (&spellings)[N]) {
  for (const auto& [name, meaning] : spellings)
    if (meaning == value) return name;
  return "";
}

// Calls read(object, type) for `value`, or for each one of the list `key` if it is a Sequence.
void for_each_step(const JsonValue& value, std::string_view key,
                   const std::function<void(const JsonValue&, const JsonValue& type)>& read) {
  const JsonValue type = value.at("type");
  if (type.string() != "Sequence") return read(value, type);
  value.require_known_keys({"type", key});
  value.at(key).for_each_item([&](const JsonValue& item) { for_each_step(item, key, read); });
}

template <class Steps, class Write>
Json sequence_json(const Steps& steps, const char* key, const Write& write) {
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return write(steps[0]);
  Json list = Json::array();
  for (const auto& step : steps) list.push_back(write(step));
  return {{"type", "Sequence"}, {key, std::move(list)}};
}

// {"String": ...} that is not empty.
std::string read_literal(const JsonValue& pattern) {
  pattern.require_known_keys({"String"});
  const JsonValue text = pattern.at("String");
  if (text.string().empty()) text.refuse("at least one character");
  return std::string(text.string());
}

void read_normalizer(const JsonValue& object, const JsonValue& type, TokenizerDefinition& definition) {
  const std::string_view name = type.string();
  Normalizer step;
  if (name == "NFC" || name == "NFKC") {
    object.require_known_keys({"type"});
    if (name == "NFKC") step.kind = Normalizer::Kind::kNfkc;
  } else if (name == "Prepend") {
    object.require_known_keys({"type", "prepend"});
    step.kind = Normalizer::Kind::kPrepend;
    step.to = object.at("prepend").string();
  } else if (name == "Replace") {
    object.require_known_keys({"type", "pattern", "content"});
    step.kind = Normalizer::Kind::kReplace;
    step.to = object.at("content").string();
    if (const JsonValue pattern = object.at("pattern"); pattern.find("Regex")) {
      pattern.require_known_keys({"Regex"});
      step.kind = Normalizer::Kind::kPattern;
      step.from = pattern.at("Regex").string();
      const std::string where = pattern.at("Regex").where();
      step.regex = std::make_shared<Regex>(oniguruma_to_pcre2(step.from, where), Regex::Mode::kUtf, where);
    } else {
      step.from = read_literal(pattern);
    }
  } else if (name == "Strip") {
    object.require_known_keys({"type", "strip_left", "strip_right"});
    step.kind = Normalizer::Kind::kStrip;
    step.strips_start = object.at("strip_left").boolean(), step.strips_end = object.at("strip_right").boolean();
  } else if (name == "Precompiled") {
    object.require_known_keys({"type", "precompiled_charsmap"});
    const JsonValue map = object.at("precompiled_charsmap");
    step.kind = Normalizer::Kind::kPrecompiled;
    step.charsmap = std::make_shared<Charsmap>(map.base64(), map.where());
  } else {
    type.refuse("\"NFC\", \"NFKC\", \"Precompiled\", \"Prepend\", \"Replace\", \"Strip\" or \"Sequence\"");
  }
  definition.normalizers.push_back(std::move(step));
}

Json normalizer_step_json(const Normalizer& step) {
  switch (step.kind) {
    case Normalizer::Kind::kPrepend:
      return {{"type", "Prepend"}, {"prepend", step.to}};
    case Normalizer::Kind::kReplace:
      return {{"type", "Replace"}, {"pattern", {{"String", step.from}}}, {"content", step.to}};
    case Normalizer::Kind::kPattern:
      return {{"type", "Replace"}, {"pattern", {{"Regex", step.from}}}, {"content", step.to}};
    case Normalizer::Kind::kNfkc:
      return {{"type", "NFKC"}};
    case Normalizer::Kind::kStrip:
      return {{"type", "Strip"}, {"strip_left", step.strips_start}, {"strip_right", step.strips_end}};
    case Normalizer::Kind::kPrecompiled:
      return {{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(step.charsmap->blob())}};
    case Normalizer::Kind::kNfc:
    case Normalizer::Kind::kSentencePiece:  // such a tokenizer is written as its own file
      break;
  }
  return {{"type", "NFC"}};
}

// {"type": "ByteLevel", ...}.
PreTokenizer read_byte_level(const JsonValue& object) {
  require_type(object, "ByteLevel");
  object.require_known_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  boolean_or(object, "trim_offsets", true);  // about offsets, which are not computed here
  return {.add_prefix_space = boolean_or(object, "add_prefix_space", true),
          .use_regex = boolean_or(object, "use_regex", true)};
}

Json byte_level_json(const PreTokenizer& step) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", step.add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", step.use_regex}};
}

PreTokenizer read_split(const JsonValue& object) {
  object.require_known_keys({"type", "pattern", "behavior", "invert"});
  PreTokenizer step{.kind = PreTokenizer::Kind::kSplit};
  const JsonValue pattern = object.at("pattern");
  if (pattern.find("String")) {
    step.pattern = read_literal(pattern);
    step.options.literal = true;
  } else {
    pattern.require_known_keys({"Regex"});
    step.pattern = pattern.at("Regex").string();
    oniguruma_to_pcre2(step.pattern, pattern.at("Regex").where());
  }
  step.options.behavior = read_spelling(object.at("behavior"), kBehaviors);
  step.options.invert = boolean_or(object, "invert", false);
  return step;
}

void require_metaspace(const JsonValue& object) {
  const JsonValue replacement = object.at("replacement");
  if (replacement.string() != kMetaspace) replacement.refuse(fmt::format("\"{}\"", kMetaspace));
}

// Early files say add_prefix_space in place of prepend_scheme.
PreTokenizer::Prepend read_prepend(const JsonValue& object) {
  const bool prefix = boolean_or(object, "add_prefix_space", true);
  const auto scheme = object.find("prepend_scheme");
  if (!scheme) return prefix ? PreTokenizer::Prepend::kAlways : PreTokenizer::Prepend::kNever;
  return read_spelling(*scheme, kPrepends);
}

PreTokenizer read_metaspace(const JsonValue& object) {
  object.require_known_keys({"type", "replacement", "prepend_scheme", "split", "add_prefix_space"});
  require_metaspace(object);
  return {.kind = PreTokenizer::Kind::kMetaspace,
          .prepend = read_prepend(object),
          .split = boolean_or(object, "split", true)};
}

PreTokenizer read_pre_tokenizer(const JsonValue& object, const JsonValue& type) {
  const std::string_view name = type.string();
  if (name == "ByteLevel") return read_byte_level(object);
  if (name == "Split") return read_split(object);
  if (name == "Metaspace") return read_metaspace(object);
  if (name == "WhitespaceSplit") {
    object.require_known_keys({"type"});
    return {.kind = PreTokenizer::Kind::kWhiteSpace};
  }
  if (name != "Digits")
    type.refuse("\"ByteLevel\", \"Digits\", \"Metaspace\", \"Split\", \"WhitespaceSplit\" or \"Sequence\"");
  object.require_known_keys({"type", "individual_digits"});
  return {.kind = PreTokenizer::Kind::kDigits, .individual_digits = boolean_or(object, "individual_digits", false)};
}

Json pre_tokenizer_step_json(const PreTokenizer& step) {
  switch (step.kind) {
    case PreTokenizer::Kind::kSplit:
      return {{"type", "Split"},
              {"pattern", {{step.options.literal ? "String" : "Regex", step.pattern}}},
              {"behavior", spelling_of(step.options.behavior, kBehaviors)},
              {"invert", step.options.invert}};
    case PreTokenizer::Kind::kDigits:
      return {{"type", "Digits"}, {"individual_digits", step.individual_digits}};
    case PreTokenizer::Kind::kMetaspace:
      return {{"type", "Metaspace"},
              {"replacement", kMetaspace},
              {"prepend_scheme", spelling_of(step.prepend, kPrepends)},
              {"split", step.split}};
    case PreTokenizer::Kind::kWhiteSpace:
      return {{"type", "WhitespaceSplit"}};
    case PreTokenizer::Kind::kByteLevel:
      break;
  }
  return byte_level_json(step);
}

void read_decoder(const JsonValue& object, const JsonValue& type, TokenizerDefinition& definition) {
  using Kind = TokenDecoder::Kind;
  const std::string_view name = type.string();
  TokenDecoder step;
  if (name == "ByteLevel") {
    read_byte_level(object);
  } else if (name == "Replace") {
    object.require_known_keys({"type", "pattern", "content"});
    step = {.kind = Kind::kReplace, .from = read_literal(object.at("pattern"))};
    step.to = object.at("content").string();
  } else if (name == "ByteFallback" || name == "Fuse") {
    object.require_known_keys({"type"});
    step.kind = name == "Fuse" ? Kind::kFuse : Kind::kByteFallback;
  } else if (name == "Strip") {
    object.require_known_keys({"type", "content", "start", "stop"});
    step = {.kind = Kind::kStrip, .from = std::string(object.at("content").string())};
    if (step.from.empty()) object.at("content").refuse("one character");
    step.start = object.at("start").integer();
    if (step.start < 0) object.at("start").refuse("a number from 0 on");
    if (object.at("stop").integer() != 0) object.at("stop").refuse("0");
    if (std::none_of(definition.decoders.begin(), definition.decoders.end(),
                     [](const TokenDecoder& decoder) { return decoder.kind == Kind::kFuse; }))
      object.refuse("a Fuse before it (it concerns the text, not each token)");
  } else if (name == "Metaspace") {
    object.require_known_keys({"type", "replacement", "prepend_scheme", "split", "add_prefix_space"});
    require_metaspace(object);
    step = {.kind = Kind::kMetaspace, .start = read_prepend(object) != PreTokenizer::Prepend::kNever};
  } else {
    type.refuse("\"ByteLevel\", \"ByteFallback\", \"Fuse\", \"Metaspace\", \"Replace\", \"Strip\" or \"Sequence\"");
  }
  // Behind a Fuse, what concerns the text as it does each token: one character replaced, before anything is stripped.
  const bool fused = std::any_of(definition.decoders.begin(), definition.decoders.end(),
                                 [](const TokenDecoder& decoder) { return decoder.kind >= Kind::kFuse; });
  const bool stripped = std::any_of(definition.decoders.begin(), definition.decoders.end(),
                                    [](const TokenDecoder& decoder) { return decoder.kind > Kind::kFuse; });
  const bool of_a_character =
      !stripped && step.kind == Kind::kReplace && first_character(step.from).size() == step.from.size();
  if (fused && step.kind != Kind::kStrip && !of_a_character)
    object.refuse("no such step behind a Fuse (but a Replace of one character, before a Strip)");
  definition.decoders.push_back(std::move(step));
}

Json decoder_step_json(const TokenDecoder& step) {
  switch (step.kind) {
    case TokenDecoder::Kind::kReplace:
      return {{"type", "Replace"}, {"pattern", {{"String", step.from}}}, {"content", step.to}};
    case TokenDecoder::Kind::kByteFallback:
      return {{"type", "ByteFallback"}};
    case TokenDecoder::Kind::kFuse:
      return {{"type", "Fuse"}};
    case TokenDecoder::Kind::kStrip:
      return {{"type", "Strip"}, {"content", step.from}, {"start", step.start}, {"stop", 0}};
    case TokenDecoder::Kind::kMetaspace:
      return {{"type", "Metaspace"},
              {"replacement", kMetaspace},
              {"prepend_scheme", step.start > 0 ? "always" : "never"},
              {"split", true}};
    case TokenDecoder::Kind::kByteLevel:
      break;
  }
  return byte_level_json(PreTokenizer{});
}

// [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
std::vector<TextTemplate::Piece> read_pieces(const JsonValue& list, const TextTemplate& around) {
  std::vector<TextTemplate::Piece> pieces;
  list.for_each_item([&](const JsonValue& item) {
    item.require_known_keys({"SpecialToken", "Sequence"});
    const auto text = item.find("Sequence");
    const JsonValue& inside = text ? *text : item.at("SpecialToken");
    inside.require_known_keys({"id", "type_id"});
    TextTemplate::Piece piece{.is_text = text.has_value(), .name = std::string(inside.at("id").string())};
    if (piece.is_text && piece.name != "A" && piece.name != "B") inside.at("id").refuse("\"A\" or \"B\"");
    if (!piece.is_text && !around.special_tokens.contains(piece.name))
      inside.at("id").refuse("a key of special_tokens");
    piece.type_id = inside.at("type_id").integer();
    pieces.push_back(std::move(piece));
  });
  return pieces;
}

void read_template(const JsonValue& object, TextTemplate& around) {
  object.require_known_keys({"type", "single", "pair", "special_tokens"});
  if (!around.single.empty()) object.refuse("one TemplateProcessing");
  object.at("special_tokens").for_each_field([&](std::string_view name, const JsonValue& token) {
    token.require_known_keys({"id", "ids", "tokens"});
    TextTemplate::Special& special = around.special_tokens[std::string(name)];
    token.at("ids").for_each_item([&](const JsonValue& id) {
      if (id.integer() < 0 || id.integer() > kMaxTokenId) id.refuse(fmt::format("an id from 0 to {}", kMaxTokenId));
      special.ids.push_back(static_cast<int32_t>(id.integer()));
    });
    token.at("tokens").for_each_item([&](const JsonValue& text) { special.tokens.emplace_back(text.string()); });
  });
  around.single = read_pieces(object.at("single"), around);
  if (const auto pair = object.find("pair")) around.pair = read_pieces(*pair, around);
  int64_t texts = 0;
  for (const TextTemplate::Piece& piece : around.single) texts += piece.is_text && piece.name == "A";
  for (const TextTemplate::Piece& piece : around.single) texts += piece.is_text && piece.name == "B";
  if (texts != 1) object.at("single").refuse("one Sequence, A");
}

Json template_json(const TextTemplate& around) {
  const auto pieces_json = [](const std::vector<TextTemplate::Piece>& pieces) {
    Json list = Json::array();
    for (const TextTemplate::Piece& piece : pieces)
      list.push_back({{piece.is_text ? "Sequence" : "SpecialToken", {{"id", piece.name}, {"type_id", piece.type_id}}}});
    return list;
  };
  Json special = Json::object();
  for (const auto& [name, token] : around.special_tokens)
    special[name] = {{"id", name}, {"ids", token.ids}, {"tokens", token.tokens}};
  return {{"type", "TemplateProcessing"},
          {"single", pieces_json(around.single)},
          {"pair", pieces_json(around.pair)},
          {"special_tokens", std::move(special)}};
}

void read_post_processor(const JsonValue& object, const JsonValue& type, TokenizerDefinition& definition) {
  if (type.string() == "TemplateProcessing")
    read_template(object, definition.around);
  else if (type.string() == "ByteLevel")
    read_byte_level(object);  // about offsets
  else
    type.refuse("\"ByteLevel\", \"TemplateProcessing\" or \"Sequence\"");
}

// ByteLevel turns text into names in the byte alphabet, and its decoder turns them back: both, and last, or neither.
void check_byte_level(const JsonValue& pre_tokenizer, const TokenizerDefinition& definition) {
  const auto& steps = definition.pre_tokenizers;
  size_t count = 0;
  for (const PreTokenizer& step : steps) count += step.kind == PreTokenizer::Kind::kByteLevel;
  if (!definition.byte_level()) {
    if (count > 0) pre_tokenizer.refuse("no ByteLevel, as the decoder has none");
  } else if (count != 1 || steps.back().kind != PreTokenizer::Kind::kByteLevel) {
    pre_tokenizer.refuse("one ByteLevel, at its end, as the decoder is one");
  }
}

}  // namespace

void require_absent_or_null(const JsonValue& object, std::string_view key) {
  if (const auto value = object.find(key); value && !value->is_null()) value->refuse("null");
}

void require_absent_or_false(const JsonValue& object, std::string_view key) {
  if (const auto value = object.find(key); value && value->boolean()) value->refuse("false");
}

bool boolean_or(const JsonValue& object, std::string_view key, bool otherwise) {
  const auto value = object.find(key);
  return value ? value->boolean() : otherwise;
}

void require_type(const JsonValue& object, std::string_view type) {
  if (const JsonValue value = object.at("type"); value.string() != type) value.refuse(fmt::format("\"{}\"", type));
}

void read_pipeline(const JsonValue& root, TokenizerDefinition& definition) {
  if (const auto normalizer = root.find("normalizer"); normalizer && !normalizer->is_null())
    for_each_step(*normalizer, "normalizers",
                  [&](const JsonValue& object, const JsonValue& type) { read_normalizer(object, type, definition); });
  const JsonValue decoder = root.at("decoder");
  definition.decoders.clear();
  for_each_step(decoder, "decoders",
                [&](const JsonValue& object, const JsonValue& type) { read_decoder(object, type, definition); });
  if (definition.decoders.empty()) decoder.refuse("at least one step");
  for (const TokenDecoder& step : definition.decoders)
    if (step.kind == TokenDecoder::Kind::kByteLevel && definition.decoders.size() > 1)
      decoder.refuse("ByteLevel alone, or none");
  const JsonValue pre_tokenizer = root.at("pre_tokenizer");
  definition.pre_tokenizers.clear();
  if (!pre_tokenizer.is_null())
    for_each_step(pre_tokenizer, "pretokenizers", [&](const JsonValue& object, const JsonValue& type) {
      definition.pre_tokenizers.push_back(read_pre_tokenizer(object, type));
    });
  check_byte_level(pre_tokenizer, definition);
  if (const auto post = root.find("post_processor"); post && !post->is_null())
    for_each_step(*post, "processors", [&](const JsonValue& object, const JsonValue& type) {
      read_post_processor(object, type, definition);
    });
}

Json normalizer_json(const TokenizerDefinition& definition) {
  return sequence_json(definition.normalizers, "normalizers", normalizer_step_json);
}

Json pre_tokenizer_json(const TokenizerDefinition& definition) {
  return sequence_json(definition.pre_tokenizers, "pretokenizers", pre_tokenizer_step_json);
}

Json post_processor_json(const TokenizerDefinition& definition) {
  std::vector<Json> steps;
  if (definition.byte_level()) steps.push_back(byte_level_json(definition.pre_tokenizers.back()));
  if (!definition.around.single.empty()) steps.push_back(template_json(definition.around));
  return sequence_json(steps, "processors", [](const Json& step) { return step; });
}

Json decoder_json(const TokenizerDefinition& definition) {
  if (definition.byte_level()) return byte_level_json(definition.pre_tokenizers.back());
  return sequence_json(definition.decoders, "decoders", decoder_step_json);
}

}  // namespace troupe
