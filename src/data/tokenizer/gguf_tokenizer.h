// The tokenizer inside a GGUF file, and the other way round. GGUF names the steps before BPE (tokenizer.ggml.pre)
// instead of listing them: a row of the table in the .cpp for each name.
#pragma once

#include <filesystem>

#include "data/tokenizer/definition.h"
#include "io/gguf.h"

namespace troupe {

bool has_gguf_tokenizer(const std::filesystem::path& path);

// Of a file without one: llama.cpp takes and gives ids alone.
GgufMetadata no_gguf_tokenizer();

// Throws kData naming the file and key: another kind than byte-level BPE ("gpt2"), a name that no row has, what a
// tokenizer.json is refused for.
TokenizerDefinition read_gguf_tokenizer(const GgufFile& file);

// The keys for `definition`, with `vocab_size` tokens: ids without one are unused. Throws kData, opened by `where`, if
// no row has its steps or it has others than GGUF can say.
GgufMetadata gguf_tokenizer(const TokenizerDefinition& definition, int64_t vocab_size, const std::string& where);

}  // namespace troupe
