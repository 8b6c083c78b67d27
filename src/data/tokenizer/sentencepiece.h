// SentencePiece's own files (tokenizer.model, Kudo and Richardson 2018) of the kinds that are here: unigram models, and
// BPE over characters with bytes for the rest, as Llama 2 and Mistral publish it. What others would need is refused by
// name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/definition.h"

namespace troupe {

inline constexpr const char* kSentencePieceFile = "tokenizer.model";

// A token of a vocabulary of SentencePiece's; stored values never change (sentencepiece_model.proto, and GGUF's
// tokenizer.ggml.token_type).
enum class PieceType : uint64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
struct SentencePiece {
  std::string text;
  float score = 0.0f;
  PieceType type = PieceType::kNormal;
};

// BPE with bytes for the rest and nothing normalised but spaces, one of which goes before a text with `dummy_prefix`.
// `where` names the list of pieces in messages. Without configuration.
TokenizerDefinition sentencepiece_bpe(const std::vector<SentencePiece>& pieces, bool dummy_prefix,
                                      const std::string& where);

// `bytes` is the content of the file, protocol buffers by sentencepiece_model.proto; `where` opens every message.
// Merges are those that make a piece of two, in order of the pieces' scores, as transformers derives them. Throws kData
// naming the byte for what is no such file, and the setting for words, characters, BPE without bytes for the rest,
// user-defined pieces.
TokenizerDefinition parse_sentencepiece(std::string_view bytes, const std::string& where);

}  // namespace troupe
