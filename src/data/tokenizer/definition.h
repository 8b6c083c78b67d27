// What a tokenizer is, as files describe it (docs/formats/tokenizer.md): read and written here, executed by Tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/word_splitter.h"

namespace troupe {

inline constexpr std::string_view kEndOfText = "<|endoftext|>";

// A token found in text before it is cut into words.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;     // control token rather than text
  bool normalized = false;  // searched after those that are not
  bool lstrip = false;      // takes the white space before it along
  bool rstrip = false;      // ... and after it
};

struct TokenizerDefinition {
  enum class Kind : uint8_t { kNone, kModel, kAddedOnly };  // kNone: no token has this id
  struct Token {
    Kind kind = Kind::kNone;  // kModel: listed in the vocabulary of the model
    std::string bytes;
  };
  std::vector<Token> tokens;  // by id
  std::array<int32_t, 256> byte_ids{};
  std::vector<Merge> merges;  // in order of priority
  std::vector<AddedToken> added;
  std::string pattern = std::string(kGpt2Pattern);
  bool add_prefix_space = false;
  bool ignore_merges = false;  // a word that is a token stays whole, whatever the merges say
};

// Ids above this are refused: tables are indexed by id.
inline constexpr int64_t kMaxTokenId = (1 << 24) - 1;

// `text` is the content of a tokenizer.json of the byte-level BPE kind; `where` opens every message.
// Throws kData naming the field for anything that this tokenizer would not do exactly as Hugging Face tokenizers does.
TokenizerDefinition parse_tokenizer_json(std::string_view text, const std::string& where);
std::string tokenizer_json(const TokenizerDefinition& definition);

// GPT-2's own files: a vocabulary (JSON object: token to id) and merges (a line "#version...", then two tokens a line).
// They know no added tokens: "<|endoftext|>" in a text is text, as in GPT-2's encoder.py.
TokenizerDefinition parse_gpt2_files(std::string_view vocab, const std::string& vocab_where, std::string_view merges,
                                     const std::string& merges_where);

}  // namespace troupe
