// The tokenizer of a converted model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "data/tokenizer/tokenizer.h"

namespace troupe {

// Of a GGUF file: writes the tokenizer in it. Copies tokenizer.json and dict.txt from one folder into another; where
// there is no tokenizer.json it is made of tokenizer.model, or else of dict.txt, encoder.json and vocab.bpe
// (data/fairseq/renumber.h). What cannot be made is said in a log line. Returns what tokenizer.json is then.
// Throws kData for a tokenizer of more ids than the model has.
std::optional<Tokenizer> carry_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to,
                                         int64_t vocab_size);

// For a folder that transformers reads: its tokenizer.json, if it only holds a tokenizer.model, becomes that.
void publish_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder);

}  // namespace troupe
