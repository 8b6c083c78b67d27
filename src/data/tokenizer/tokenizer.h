// Byte-level BPE (Radford et al. 2019): text to token ids and back, exactly, for every string of bytes.
//
//   text --added tokens--> parts --pattern--> words --merges--> ids
//
// Each arrow has its own file: added_token_finder.h, word_splitter.h, bpe.h. Files: definition.h. Training:
// bpe_trainer.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct TokenizerDefinition;

// Immutable and thread-safe; copies share their tables.
class Tokenizer {
 public:
  // PATH: a tokenizer.json, or a folder with one, or with encoder.json and vocab.bpe, or with vocab.json and
  // merges.txt. Throws kData naming file and field for anything that would not encode exactly as Hugging Face
  // tokenizers does.
  static Tokenizer load(const std::string& path);
  // `where` opens the messages of errors that concern the definition.
  explicit Tokenizer(TokenizerDefinition definition, const std::string& where = "tokenizer");

  // Writes a tokenizer.json, which Hugging Face tokenizers loads and encodes with identically. Atomic.
  void save(const std::string& path) const;

  enum class AddedTokens {
    kMatch,   // "<|endoftext|>" in the text becomes its id, as in Hugging Face tokenizers
    kAsText,  // ... is text like any other: right for documents, whose authors may write anything
  };
  // Appends the ids of `text`, which may be any bytes: decode() gives them back, except that a tokenizer with
  // add_prefix_space adds its space and an added token with lstrip or rstrip drops the white space that it takes along.
  void encode(std::string_view text, std::vector<int32_t>& ids, AddedTokens added = AddedTokens::kMatch) const;
  std::vector<int32_t> encode(std::string_view text, AddedTokens added = AddedTokens::kMatch) const;

  // The bytes of the tokens, which need not be valid UTF-8. Throws kData for an id that no token has.
  std::string decode(std::span<const int32_t> ids) const;
  const std::string& token_bytes(int32_t id) const;
  // The smallest id with these bytes, -1 if there is none. Reads the whole vocabulary: not for loops.
  int32_t find_token(std::string_view bytes) const;

  // The ids that stand for text: all but those that no token has and the special tokens ("<|endoftext|>", "<pad>").
  std::vector<int32_t> text_ids() const;

  int64_t vocab_size() const;   // one more than the largest id; ids without a token count
  int32_t end_of_text() const;  // id of the token "<|endoftext|>", -1 if there is none
  const TokenizerDefinition& definition() const;

 private:
  struct Tables;
  std::shared_ptr<const Tables> tables_;
};

}  // namespace troupe
