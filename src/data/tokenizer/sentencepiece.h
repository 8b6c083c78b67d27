// SentencePiece's own files (tokenizer.model, Kudo and Richardson 2018) of the kinds that are here: unigram models, and
// BPE over characters with bytes for the rest, as Llama 2 and Mistral publish it. What others would need is refused by
// name.
#pragma once

#include <string>
#include <string_view>

#include "data/tokenizer/definition.h"

namespace troupe {

inline constexpr const char* kSentencePieceFile = "tokenizer.model";

// `bytes` is the content of the file, protocol buffers by sentencepiece_model.proto; `where` opens every message.
// Merges are those that make a piece of two, in order of the pieces' scores, as transformers derives them. Throws kData
// naming the byte for what is no such file, and the setting for words, characters, BPE without bytes for the rest,
// user-defined pieces.
TokenizerDefinition parse_sentencepiece(std::string_view bytes, const std::string& where);

}  // namespace troupe
