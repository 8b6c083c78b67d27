#include "data/tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/vocabulary.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe {
namespace {

// As families publish them in tokenizer.json; llama.cpp writes the same sets in its own words.
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct PreRow {
  const char* name;       // tokenizer.ggml.pre
  const char* pattern;    // of a Split before ByteLevel; null: ByteLevel has GPT-2's
  bool digits;            // Digits before that
  bool nfc, whole_words;  // whole_words: ignore_merges
  bool add_bos;           // if the file does not say
};
// The first row that fits is written.
constexpr PreRow kPreRows[] = {{"gpt-2", nullptr, false, false, false, false},
                               {"smollm", nullptr, true, false, false, false},
                               {"starcoder", nullptr, true, false, false, false},
                               {"refact", nullptr, true, false, false, false},
                               {"command-r", nullptr, true, false, false, false},
                               {"olmo", nullptr, false, true, false, false},
                               {"llama-bpe", kLlama3Pattern, false, false, true, true},
                               {"llama3", kLlama3Pattern, false, false, true, true},
                               {"llama-v3", kLlama3Pattern, false, false, true, true},
                               {"dbrx", kLlama3Pattern, false, false, false, false},
                               {"qwen2", kQwenPattern, false, true, false, false},
                               {"deepseek-r1-qwen", kQwenPattern, false, true, false, false},
                               {"tekken", kTekkenPattern, false, false, true, false},
                               {"gpt-4o", kO200kPattern, false, false, false, false}};

constexpr const char* kModelKey = "tokenizer.ggml.model";
constexpr const char* kNoTokenizer = "none";
constexpr const char* kTypesKey = "tokenizer.ggml.token_type";

// Of kTypesKey; stored values never change.
constexpr double kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

std::vector<PreTokenizer> steps_of(const PreRow& row) {
  std::vector<PreTokenizer> steps;
  if (row.digits) steps.push_back({.kind = PreTokenizer::Kind::kDigits, .individual_digits = true});
  if (row.pattern) steps.push_back({.kind = PreTokenizer::Kind::kSplit, .pattern = row.pattern});
  steps.push_back({.use_regex = !row.pattern});
  return steps;
}

std::vector<Normalizer> normalizers_of(const PreRow& row) {
  return row.nfc ? std::vector<Normalizer>{{}} : std::vector<Normalizer>{};
}

const PreRow& row_named(const std::string& name, const std::string& where) {
  std::string names;
  for (const PreRow& row : kPreRows) {
    if (row.name == name) return row;
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  fail(ErrorCode::kData, "{}: tokenizer.ggml.pre: expected one of {}, got {}", where, names, name);
}

const PreRow& row_with(const TokenizerDefinition& definition, const std::string& where) {
  const bool nfc = !definition.normalizers.empty();
  for (const PreRow& row : kPreRows)
    if (definition.byte_level() && steps_of(row) == definition.pre_tokenizers && row.nfc == nfc &&
        (!nfc || (definition.normalizers.size() == 1 && definition.normalizers[0].kind == Normalizer::Kind::kNfc)) &&
        row.whole_words == definition.ignore_merges)
      return row;
  std::string names;
  for (const PreRow& row : kPreRows) names += (names.empty() ? "" : ", ") + std::string(row.name);
  fail(ErrorCode::kData,
       "{}: pre_tokenizer: expected byte-level BPE with the steps of one that GGUF has a name for ({}), got others",
       where, names);
}

// What transformers would have in tokenizer_config.json.
std::string config_json(const std::string& bos, const std::string& eos, const std::string& chat_template) {
  nlohmann::ordered_json object;
  if (!bos.empty()) object["bos_token"] = bos;
  if (!eos.empty()) object["eos_token"] = eos;
  if (!chat_template.empty()) object["chat_template"] = chat_template;
  return object.empty() ? std::string() : json_file_text(object);
}

void add_around(TextTemplate& around, bool before, int32_t id, const std::string& name) {
  if (around.single.empty()) {
    around.single.push_back({.is_text = true, .name = "A"});
    around.pair = {{.is_text = true, .name = "A"}, {.is_text = true, .name = "B", .type_id = 1}};
  }
  around.single.insert(before ? around.single.begin() : around.single.end(), {.name = name});
  around.pair.insert(before ? around.pair.begin() : around.pair.begin() + 1, {.name = name});
  around.pair.insert(before ? around.pair.begin() + 2 : around.pair.end(), {.name = name, .type_id = 1});
  around.special_tokens[name] = {.ids = {id}, .tokens = {name}};
}

void read_merges(const GgufFile& file, VocabularyBuilder& builder) {
  const std::vector<std::string>& merges = file.strings("tokenizer.ggml.merges");
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string where = fmt::format("{}: tokenizer.ggml.merges[{}]", file.where(), i);
    const size_t space = merges[i].find(' ');
    if (space == merges[i].npos || merges[i].find(' ', space + 1) != merges[i].npos)
      fail(ErrorCode::kData, "{}: expected two tokens separated by one space, got \"{}\"", where, merges[i]);
    builder.add_merge(merges[i].substr(0, space), merges[i].substr(space + 1), where);
  }
}

}  // namespace

bool has_gguf_tokenizer(const std::filesystem::path& path) {
  const std::string model = GgufFile(path).string(kModelKey, kNoTokenizer);
  return model != kNoTokenizer && model != "no_vocab";
}

GgufMetadata no_gguf_tokenizer() { return {{kModelKey, GgufValue::string(kNoTokenizer)}}; }

namespace {

// One for each token of the file.
std::vector<double> of_tokens(const GgufFile& file, const char* key, size_t count) {
  std::vector<double> values = file.numbers(key);
  if (values.size() != count)
    fail(ErrorCode::kData, "{}: {}: expected {} of them, as tokens, got {}", file.where(), key, count, values.size());
  return values;
}

// Llama 2's kind: SentencePiece's BPE by scores.
TokenizerDefinition read_pieces(const GgufFile& file, const std::vector<std::string>& names,
                                const std::vector<double>& types) {
  const std::vector<double> scores = of_tokens(file, "tokenizer.ggml.scores", names.size());
  std::vector<SentencePiece> pieces;
  for (size_t id = 0; id < names.size(); ++id) {
    const auto type = static_cast<PieceType>(types[id] >= 1 && types[id] <= 6 ? types[id] : 0);
    pieces.push_back({names[id], static_cast<float>(scores[id]), type});
  }
  return sentencepiece_bpe(pieces, file.boolean("tokenizer.ggml.add_space_prefix", true),
                           file.where() + ": tokenizer.ggml.tokens");
}

TokenizerDefinition read_byte_level(const GgufFile& file, const std::vector<std::string>& names,
                                    const std::vector<double>& types) {
  const std::string& where = file.where();
  const PreRow& row = row_named(file.string("tokenizer.ggml.pre", "gpt-2"), where);
  TokenizerDefinition definition;
  definition.normalizers = normalizers_of(row);
  definition.pre_tokenizers = steps_of(row);
  definition.ignore_merges = row.whole_words;
  VocabularyBuilder builder(definition, where + ": tokenizer.ggml.tokens");
  const auto is_added = [&](size_t id) { return types[id] == kControl || types[id] == kUserDefined; };
  for (size_t id = 0; id < names.size(); ++id)
    if (!is_added(id) && types[id] != kUnused) builder.add_token(names[id], static_cast<int64_t>(id));
  for (size_t id = 0; id < names.size(); ++id)
    if (is_added(id))
      builder.add_added_token({.content = names[id], .id = static_cast<int32_t>(id), .special = types[id] == kControl},
                              fmt::format("{}: tokenizer.ggml.tokens[{}]", where, id));
  read_merges(file, builder);
  builder.finish();
  return definition;
}

}  // namespace

TokenizerDefinition read_gguf_tokenizer(const GgufFile& file) {
  const std::string& where = file.where();
  const std::string& model = file.string(kModelKey);
  const bool in_pieces = model == "llama";
  if (model != "gpt2" && !in_pieces)
    fail(ErrorCode::kData, "{}: {}: expected gpt2 (byte-level BPE) or llama (SentencePiece's BPE), got {}", where,
         kModelKey, model);
  const std::vector<std::string>& names = file.strings("tokenizer.ggml.tokens");
  std::vector<double> types(names.size(), kNormal);
  if (in_pieces || file.has(kTypesKey)) types = of_tokens(file, kTypesKey, names.size());
  TokenizerDefinition definition = in_pieces ? read_pieces(file, names, types) : read_byte_level(file, names, types);
  const auto token = [&](const char* key) -> std::string {
    const int64_t id = file.integer(key, -1);
    if (id < 0) return {};
    if (static_cast<size_t>(id) >= names.size() || types[static_cast<size_t>(id)] == kUnused)
      fail(ErrorCode::kData, "{}: {}: expected the id of a token, got {}", where, key, id);
    return names[static_cast<size_t>(id)];
  };
  const std::string bos = token("tokenizer.ggml.bos_token_id"), eos = token("tokenizer.ggml.eos_token_id");
  const bool opens = in_pieces || row_named(file.string("tokenizer.ggml.pre", "gpt-2"), where).add_bos;
  if (!bos.empty() && file.boolean("tokenizer.ggml.add_bos_token", opens))
    add_around(definition.around, true, static_cast<int32_t>(file.integer("tokenizer.ggml.bos_token_id")), bos);
  if (!eos.empty() && file.boolean("tokenizer.ggml.add_eos_token", false))
    add_around(definition.around, false, static_cast<int32_t>(file.integer("tokenizer.ggml.eos_token_id")), eos);
  definition.config.bos_token = bos;
  definition.config.eos_token = eos;
  definition.config.json = config_json(bos, eos, file.string("tokenizer.chat_template", ""));
  return definition;
}

GgufMetadata gguf_tokenizer(const TokenizerDefinition& definition, int64_t vocab_size, const std::string& where) {
  using Kind = TokenizerDefinition::Kind;
  const PreRow& row = row_with(definition, where);
  std::vector<std::string> names, merges;
  std::vector<double> types;
  std::vector<const AddedToken*> added(definition.tokens.size());
  for (const AddedToken& token : definition.added) added[static_cast<size_t>(token.id)] = &token;
  for (size_t id = 0; id < static_cast<size_t>(vocab_size); ++id) {
    const bool there = id < definition.tokens.size() && definition.tokens[id].kind != Kind::kNone;
    if (!there) {
      names.push_back(fmt::format("[PAD{}]", id));
      types.push_back(kUnused);
    } else if (added[id]) {
      names.push_back(added[id]->content);
      types.push_back(added[id]->special ? kControl : kUserDefined);
    } else {
      names.push_back(to_byte_alphabet(definition.tokens[id].bytes));
      types.push_back(kNormal);
    }
  }
  for (const Merge& merge : definition.merges)
    merges.push_back(names[static_cast<size_t>(merge.left)] + " " + names[static_cast<size_t>(merge.right)]);

  int64_t bos = -1, eos = -1, opens = -1, closes = -1;
  const auto id_of = [&](const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() || name.empty() ? -1 : found - names.begin();
  };
  bool before = true;
  for (const TextTemplate::Piece& piece : definition.around.single) {
    if (piece.is_text) {
      before = false;
      continue;
    }
    int64_t& side = before ? opens : closes;
    const std::vector<int32_t>& ids = definition.around.special_tokens.at(piece.name).ids;
    if (side >= 0 || ids.size() != 1)
      fail(ErrorCode::kData, "{}: post_processor: expected at most one token before and one after a text", where);
    side = ids[0];
  }
  bos = opens >= 0 ? opens : id_of(definition.config.bos_token);
  eos = closes >= 0
            ? closes
            : id_of(definition.config.eos_token.empty() ? std::string(kEndOfText) : definition.config.eos_token);
  GgufMetadata metadata = {{kModelKey, GgufValue::string("gpt2")},
                           {"tokenizer.ggml.pre", GgufValue::string(row.name)},
                           {"tokenizer.ggml.tokens", GgufValue::strings(std::move(names))},
                           {kTypesKey, GgufValue::i32s(std::move(types))},
                           {"tokenizer.ggml.merges", GgufValue::strings(std::move(merges))}};
  if (bos >= 0) metadata.emplace_back("tokenizer.ggml.bos_token_id", GgufValue::u32(bos));
  if (eos >= 0) metadata.emplace_back("tokenizer.ggml.eos_token_id", GgufValue::u32(eos));
  metadata.emplace_back("tokenizer.ggml.add_bos_token", GgufValue::boolean(opens >= 0));
  metadata.emplace_back("tokenizer.ggml.add_eos_token", GgufValue::boolean(closes >= 0));
  std::string chat_template = definition.config.chat_template;
  if (chat_template.empty() && !definition.config.json.empty()) {
    const nlohmann::json config = parse_json(definition.config.json, where + ": tokenizer_config.json");
    if (const auto found = config.find("chat_template"); found != config.end() && found->is_string())
      chat_template = found->get<std::string>();
  }
  if (!chat_template.empty())
    metadata.emplace_back("tokenizer.chat_template", GgufValue::string(std::move(chat_template)));
  return metadata;
}

}  // namespace troupe
