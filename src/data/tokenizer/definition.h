// What a tokenizer is, as files describe it (docs/formats/tokenizer.md): read and written here, executed by Tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/tokenizer_config.h"
#include "data/tokenizer/unigram.h"
#include "data/tokenizer/word_pipeline.h"

namespace troupe {

inline constexpr std::string_view kEndOfText = "<|endoftext|>";

// A token found in text before it is cut into words.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;     // control token rather than text
  bool normalized = false;  // searched after those that are not, in normalised text
  bool lstrip = false;      // takes the white space before it along
  bool rstrip = false;      // ... and after it
};

// TemplateProcessing: what stands around a text, and around two of them.
struct TextTemplate {
  struct Piece {
    bool is_text = false;  // `name` is A or B, otherwise a key of special_tokens
    std::string name;
    int64_t type_id = 0;
  };
  struct Special {
    std::vector<int32_t> ids;
    std::vector<std::string> tokens;
  };
  std::vector<Piece> single, pair;
  std::map<std::string, Special> special_tokens;
};

// A step from the names of tokens to text.
struct TokenDecoder {
  enum class Kind {
    kByteLevel,     // names are in the byte alphabet
    kReplace,       // every `from` in a name is `to`
    kByteFallback,  // <0x0A> is a byte
    kFuse,          // tokens are one text from here on
    kStrip,         // up to `start` times `from` at the start of the text goes
    kMetaspace,     // U+2581 is a space; in the first token it is nothing, if `start`
  };
  Kind kind = Kind::kByteLevel;
  std::string from, to;
  int64_t start = 0;
};

struct TokenizerDefinition {
  enum class Kind : uint8_t { kNone, kModel, kAddedOnly };  // kNone: no token has this id
  struct Token {
    Kind kind = Kind::kNone;  // kModel: listed in the vocabulary of the model
    std::string bytes;        // what it stands for
    std::string name = {};    // as files have it, where that does not follow from the bytes
  };
  std::vector<Token> tokens;  // by id
  std::array<int32_t, 256> byte_ids{};  // -1: text leaves the byte out
  // Without byte_level() a word starts as its characters, where they have tokens, and as bytes where not
  // ("byte_fallback").
  std::vector<std::pair<char32_t, int32_t>> characters;
  std::vector<Merge> merges;  // in order of priority
  std::optional<UnigramModel> unigram;  // in place of merges
  std::vector<AddedToken> added;
  std::vector<Normalizer> normalizers;
  std::vector<PreTokenizer> pre_tokenizers = {PreTokenizer{}};
  TextTemplate around;                                    // empty: nothing
  std::vector<TokenDecoder> decoders = {TokenDecoder{}};  // at least one
  bool ignore_merges = false;                             // a word that is a token stays whole, whatever the merges say
  bool fuse_unk = false;                                  // these two have no effect, since every byte has a token
  std::string unk_token = {};
  std::string sentencepiece = {};  // all of a tokenizer.model whose rules a tokenizer.json cannot say: it holds that
  TokenizerConfig config;          // no part of tokenizer.json

  bool byte_level() const { return decoders.front().kind == TokenDecoder::Kind::kByteLevel; }
};

// Ids above this are refused: tables are indexed by id.
inline constexpr int64_t kMaxTokenId = (1 << 24) - 1;

// `text` is the content of a tokenizer.json of the BPE kind; `where` opens every message.
// Throws kData naming the field for anything that this tokenizer would not do exactly as Hugging Face tokenizers does.
TokenizerDefinition parse_tokenizer_json(std::string_view text, const std::string& where);
std::string tokenizer_json(const TokenizerDefinition& definition);

// GPT-2's own files: a vocabulary (JSON object: token to id) and merges (a line "#version...", then two tokens a line).
// They know no added tokens: "<|endoftext|>" in a text is text, as in GPT-2's encoder.py.
TokenizerDefinition parse_gpt2_files(std::string_view vocab, const std::string& vocab_where, std::string_view merges,
                                     const std::string& merges_where);

}  // namespace troupe
