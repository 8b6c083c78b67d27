#include "data/tokenizer/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "data/tokenizer/charsmap.h"
#include "data/tokenizer/vocabulary.h"
#include "io/json_text.h"

namespace troupe {
namespace {


// One field of a message in protocol buffers' wire format.
struct ProtoField {
  uint64_t number = 0;
  uint64_t integer = 0;      // varint, or 4 or 8 bytes, little-endian
  std::string_view bytes{};  // length-delimited
  bool is_bytes = false;
};

class ProtoMessage {
 public:
  ProtoMessage(std::string_view message, const char* file_begin, const std::string& where)
      : rest_(message), begin_(file_begin), where_(where) {}

  bool next(ProtoField& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    field = {.number = tag >> 3};
    switch (tag & 7) {
      case 0:
        field.integer = varint();
        return true;
      case 1:
        field.integer = fixed(8);
        return true;
      case 2:
        field.bytes = take(varint());
        field.is_bytes = true;
        return true;
      case 5:
        field.integer = fixed(4);
        return true;
      default:
        refuse("a field of protocol buffers", fmt::format("wire type {}", tag & 7));
    }
  }

 private:
  [[noreturn]] void refuse(std::string_view expected, std::string_view got) const {
    fail(ErrorCode::kData, "{}: byte {}: expected {}, got {} (no SentencePiece model, or a damaged one)", where_,
         rest_.data() - begin_, expected, got);
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) refuse(fmt::format("{} bytes", count), fmt::format("{} up to the end", rest_.size()));
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  uint64_t fixed(size_t count) {
    uint64_t value = 0;
    const std::string_view taken = take(count);
    for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(taken[i]);
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    refuse("a number of at most 10 bytes", "a longer one");
  }

  std::string_view rest_;
  const char* begin_;
  const std::string& where_;
};

constexpr uint64_t kUnigramModel = 1, kBpeModel = 2;
constexpr const char* kModelTypes[] = {"unigram", "bpe", "word", "char"};

struct SentencePieceModel {
  std::vector<SentencePiece> pieces;
  uint64_t model_type = 1;
  bool byte_fallback = false, whitespace_as_suffix = false;
  std::string_view charsmap;
  bool dummy_prefix = true, removes_spaces = true, escapes_spaces = true;
  uint64_t bos = 1, eos = 2;
};

SentencePieceModel parse_model(std::string_view file, const std::string& where) {
  SentencePieceModel model;
  const auto each = [&](std::string_view message, const auto& use) {
    ProtoMessage fields(message, file.data(), where);
    for (ProtoField field; fields.next(field);) use(field);
  };
  const auto piece = [&](std::string_view message) {
    SentencePiece& made = model.pieces.emplace_back();
    each(message, [&](const ProtoField& field) {
      if (field.number == 1) made.text = field.bytes;
      if (field.number == 2) {
        const auto bits = static_cast<uint32_t>(field.integer);
        std::memcpy(&made.score, &bits, sizeof bits);
      }
      if (field.number == 3) made.type = static_cast<PieceType>(field.integer);
    });
  };
  const auto trainer = [&](const ProtoField& field) {
    if (field.number == 3) model.model_type = field.integer;
    if (field.number == 24) model.whitespace_as_suffix = field.integer != 0;
    if (field.number == 35) model.byte_fallback = field.integer != 0;
    if (field.number == 41) model.bos = field.integer;
    if (field.number == 42) model.eos = field.integer;
  };
  const auto normalizer = [&](const ProtoField& field) {
    if (field.number == 2) model.charsmap = field.bytes;
    if (field.number == 3) model.dummy_prefix = field.integer != 0;
    if (field.number == 4) model.removes_spaces = field.integer != 0;
    if (field.number == 5) model.escapes_spaces = field.integer != 0;
  };
  each(file, [&](const ProtoField& field) {
    if (field.number <= 3 && !field.is_bytes)
      fail(ErrorCode::kData, "{}: expected a SentencePiece model, got another file", where);
    if (field.number == 1) piece(field.bytes);
    if (field.number == 2) each(field.bytes, trainer);
    if (field.number == 3) each(field.bytes, normalizer);
  });
  if (model.pieces.empty()) fail(ErrorCode::kData, "{}: expected a SentencePiece model, got one without pieces", where);
  return model;
}

// `where` names the list.
void check_pieces(const std::vector<SentencePiece>& pieces, const std::string& where) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& [text, score, type] = pieces[id];
    const std::string at = fmt::format("{}[{}]", where, id);
    if (type < PieceType::kNormal || type > PieceType::kByte)
      fail(ErrorCode::kData, "{}.type: expected a kind of piece from 1 to 6, got {}", at, static_cast<uint64_t>(type));
    if (!std::isfinite(score)) fail(ErrorCode::kData, "{}.score: expected a finite number, got {}", at, score);
    if (find_invalid_utf8(text)) fail(ErrorCode::kData, "{}.piece: expected text in UTF-8, got other bytes", at);
    if (type == PieceType::kUserDefined)  // such a piece does not begin a text anew, as an added token here does
      fail(ErrorCode::kData, "{}.type: expected no user-defined piece, got \"{}\"", at, text);
  }
}

void check_model(const SentencePieceModel& model, const std::string& where) {
  if (model.model_type != kUnigramModel && model.model_type != kBpeModel)
    fail(ErrorCode::kData, "{}: trainer_spec.model_type: expected unigram or bpe, got {}", where,
         model.model_type >= 1 && model.model_type <= 4 ? kModelTypes[model.model_type - 1] : "another");
  const auto require = [&](const char* setting, bool value, bool only) {
    if (value != only) fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where, setting, only, value);
  };
  if (model.model_type == kBpeModel) require("trainer_spec.byte_fallback", model.byte_fallback, true);
  require("trainer_spec.treat_whitespace_as_suffix", model.whitespace_as_suffix, false);
  require("normalizer_spec.escape_whitespaces", model.escapes_spaces, true);
  check_pieces(model.pieces, where + ": pieces");
}

void add_merges(const std::vector<SentencePiece>& pieces, VocabularyBuilder& builder, const std::string& where) {
  struct Split {
    std::string_view left, right;
    float score;
  };
  std::unordered_map<std::string_view, size_t> normal;
  for (size_t id = 0; id < pieces.size(); ++id)
    if (pieces[id].type == PieceType::kNormal) normal.emplace(pieces[id].text, id);
  std::vector<Split> splits;
  for (const SentencePiece& piece : pieces) {
    if (piece.type != PieceType::kNormal) continue;
    const std::string_view text = piece.text;
    for (size_t at = first_character(text).size(); at < text.size(); at += first_character(text.substr(at)).size())
      if (normal.contains(text.substr(0, at)) && normal.contains(text.substr(at)))
        splits.push_back({text.substr(0, at), text.substr(at), piece.score});
  }
  std::stable_sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) {
    return a.score != b.score ? a.score > b.score : a.left.size() > b.left.size();
  });
  for (const Split& split : splits) builder.add_merge(split.left, split.right, where);
}

// Tokens, and as added ones those that no text becomes.
void add_tokens(const std::vector<SentencePiece>& pieces, TokenizerDefinition& definition, VocabularyBuilder& builder,
                const std::string& where) {
  for (size_t id = 0; id < pieces.size(); ++id)
    if (pieces[id].type != PieceType::kUnused) builder.add_token(pieces[id].text, static_cast<int64_t>(id));
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& [text, score, type] = pieces[id];
    if (type == PieceType::kUnknown) definition.unk_token = text;
    if (type == PieceType::kUnknown || type == PieceType::kControl)
      builder.add_added_token({.content = text, .id = static_cast<int32_t>(id), .special = true},
                              fmt::format("{}[{}]", where, id));
  }
}

void set_decoders(TokenizerDefinition& definition, bool dummy_prefix) {
  using Decoder = TokenDecoder::Kind;
  definition.pre_tokenizers.clear();
  definition.decoders = {{.kind = Decoder::kReplace, .from = std::string(kMetaspace), .to = " "},
                         {.kind = Decoder::kByteFallback},
                         {.kind = Decoder::kFuse}};
  if (dummy_prefix) definition.decoders.push_back({.kind = Decoder::kStrip, .from = " ", .start = 1});
}

void set_spaces(TokenizerDefinition& definition, bool dummy_prefix) {
  const std::string space(kMetaspace);
  if (dummy_prefix) definition.normalizers.push_back({.kind = Normalizer::Kind::kPrepend, .to = space});
  definition.normalizers.push_back({.kind = Normalizer::Kind::kReplace, .from = " ", .to = space});
}

// Scores of all but pieces that stand for no text.
UnigramModel unigram_of(const SentencePieceModel& model, const std::string& where) {
  UnigramModel unigram{.byte_fallback = model.byte_fallback, .float_sums = true};
  float lowest = std::numeric_limits<float>::max();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    if (piece.type == PieceType::kUnknown) {
      if (unigram.unknown >= 0)
        fail(ErrorCode::kData, "{}: pieces[{}].type: expected one unknown piece, got another", where, id);
      unigram.unknown = static_cast<int32_t>(id);
    }
    if (piece.type != PieceType::kNormal) continue;
    unigram.pieces.push_back({static_cast<int32_t>(id), static_cast<double>(piece.score)});
    lowest = std::min(lowest, piece.score);
  }
  if (unigram.unknown < 0) fail(ErrorCode::kData, "{}: pieces: expected one unknown piece, got none", where);
  unigram.lowest_score = static_cast<double>(lowest);
  return unigram;
}

std::string piece_name(const SentencePieceModel& model, uint64_t id) {
  return id < model.pieces.size() && model.pieces[id].type == PieceType::kControl ? model.pieces[id].text : "";
}

}  // namespace

TokenizerDefinition sentencepiece_bpe(const std::vector<SentencePiece>& pieces, bool dummy_prefix,
                                      const std::string& where) {
  check_pieces(pieces, where);
  TokenizerDefinition definition;
  set_decoders(definition, dummy_prefix);
  set_spaces(definition, dummy_prefix);
  VocabularyBuilder builder(definition, where);
  add_tokens(pieces, definition, builder, where);
  add_merges(pieces, builder, where);
  builder.finish();
  return definition;
}

TokenizerDefinition parse_sentencepiece(std::string_view bytes, const std::string& where) {
  const SentencePieceModel model = parse_model(bytes, where);
  check_model(model, where);
  TokenizerDefinition definition;
  set_decoders(definition, model.dummy_prefix);
  const bool is_unigram = model.model_type == kUnigramModel;
  if (is_unigram || model.removes_spaces || !model.charsmap.empty()) {
    Normalizer step{.kind = Normalizer::Kind::kSentencePiece};
    step.removes_spaces = model.removes_spaces, step.dummy_prefix = model.dummy_prefix;
    if (!model.charsmap.empty())
      step.charsmap =
          std::make_shared<Charsmap>(std::string(model.charsmap), where + ": normalizer_spec.precompiled_charsmap");
    definition.normalizers.push_back(std::move(step));
    definition.sentencepiece = bytes;
  } else {
    set_spaces(definition, model.dummy_prefix);
  }
  VocabularyBuilder builder(definition, where + ": pieces");
  add_tokens(model.pieces, definition, builder, where + ": pieces");
  if (is_unigram)
    definition.unigram = unigram_of(model, where);
  else
    add_merges(model.pieces, builder, where + ": pieces");
  builder.finish();

  TokenizerConfig& config = definition.config;
  config.bos_token = piece_name(model, model.bos), config.eos_token = piece_name(model, model.eos);
  nlohmann::ordered_json object;
  if (!config.bos_token.empty()) object["bos_token"] = config.bos_token;
  if (!config.eos_token.empty()) object["eos_token"] = config.eos_token;
  if (!object.empty()) config.json = json_file_text(object);
  return definition;
}

}  // namespace troupe
