// Which tokenizer is it? Shards name the one that wrote them by the XXH3-64 of its tokenizer.json
// (Vocabulary::tokenizer).
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/shards/dataset.h"

namespace troupe {

// Whether Tokenizer::load would find one in this folder.
bool has_tokenizer(const std::filesystem::path& folder);

// Whether shards with this checksum were written by the tokenizer at `path`, a file or folder as for Tokenizer::load,
// which it throws as. The format of the file makes no difference.
bool is_tokenizer(const std::filesystem::path& path, uint64_t checksum);

// Throws kData if the dataset's folder has the tokenizer.json of another tokenizer than its shards.
void check_tokenizer_copy(const TokenDataset& dataset);

}  // namespace troupe
