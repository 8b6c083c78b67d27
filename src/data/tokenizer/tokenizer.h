// Byte-pair encoding, of bytes (Radford et al. 2019) or of characters with bytes for the rest (SentencePiece), and
// SentencePiece's unigram models: text to token ids and back, exactly, for every string of bytes, as far as a tokenizer
// does not rewrite text or know no token for it.
//
//   text --added tokens--> parts --normalizers--> normalised --steps--> words --merges or scores--> ids
//
// Each arrow has its own file: added_token_finder.h, normalizer.h, word_pipeline.h, bpe.h and unigram.h. Files:
// definition.h. Training: bpe_trainer.h.
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
  // merges.txt, or with tokenizer.model; or a .model or .gguf file. Throws kData naming file and field for anything
  // that would not encode exactly as Hugging Face tokenizers does. A tokenizer_config.json beside it names the end of
  // text and is kept, as is a chat_template.jinja.
  static Tokenizer load(const std::string& path);
  // Whether load() takes a folder's tokenizer.model, for want of anything else.
  static bool is_sentencepiece(const std::string& folder);
  // `where` opens the messages of errors that concern the definition.
  explicit Tokenizer(TokenizerDefinition definition, const std::string& where = "tokenizer");

  // Writes a tokenizer.json, which Hugging Face tokenizers loads and encodes with identically, and beside it the files
  // that were beside the one read. Each atomic.
  void save(const std::string& path) const;

  enum class AddedTokens {
    kMatch,   // "<|endoftext|>" in the text becomes its id, as in Hugging Face tokenizers
    kAsText,  // ... is text like any other: right for documents, whose authors may write anything
  };
  // Appends the ids of `text`, which may be any bytes: decode() gives them back, except that a tokenizer with
  // add_prefix_space adds its space, an added token with lstrip or rstrip drops the white space that it takes along,
  // normalizers rewrite text and a Split may remove some. Without prefix() and suffix().
  void encode(std::string_view text, std::vector<int32_t>& ids, AddedTokens added = AddedTokens::kMatch) const;
  std::vector<int32_t> encode(std::string_view text, AddedTokens added = AddedTokens::kMatch) const;

  // What the tokenizer puts around a text (TemplateProcessing), such as <|begin_of_text|>; often nothing.
  const std::vector<int32_t>& prefix() const;
  const std::vector<int32_t>& suffix() const;

  // The bytes of the tokens, which need not be valid UTF-8, as those of a whole text: some tokenizers add a space to
  // its start that goes here. Within a text token_bytes() says what a token adds. Throws kData for an id that no token
  // has.
  std::string decode(std::span<const int32_t> ids) const;
  const std::string& token_bytes(int32_t id) const;

  // The ids that stand for text: all but those that no token has and the special tokens ("<|endoftext|>", "<pad>").
  std::vector<int32_t> text_ids() const;

  int64_t vocab_size() const;   // one more than the largest id; ids without a token count
  int32_t end_of_text() const;  // id of tokenizer_config.json's eos_token, else of "<|endoftext|>", -1 if there is none
  const TokenizerDefinition& definition() const;

 private:
  struct Tables;
  std::shared_ptr<const Tables> tables_;
};

}  // namespace troupe
