// Text to a dataset: documents are read in order, encoded in parallel and written as shards. The result does not depend
// on the number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/text/reader.h"
#include "data/tokenizer/tokenizer.h"

namespace troupe {

struct EncodeOptions {
  TextOptions text;
  int64_t shard_tokens = int64_t{1} << 26;  // a shard is closed at the first document end at or after this many
};

struct EncodeStats {
  TextStats text;  // what was read and what was passed over
  int64_t documents = 0, tokens = 0, text_bytes = 0;
};

// Called now and then from the calling thread with the totals so far.
using EncodeProgress = std::function<void(const EncodeStats&)>;

// Writes the folder `out` (docs/formats/shards.md), with a copy of the tokenizer as tokenizer.json. Text that looks
// like an added token is text. Throws kUsage if `out` has files in it or the tokenizer has no <|endoftext|>, kData for
// damaged text (see TextOptions::on_bad) or if there is no document at all; then `out` is as it was.
EncodeStats encode_text(const std::vector<std::string>& inputs, const Tokenizer& tokenizer,
                        const std::filesystem::path& out, const EncodeOptions& options = {},
                        const EncodeProgress& progress = {});

// Identifies a tokenizer in shards: XXH3-64 of its tokenizer.json as Tokenizer::save writes it.
uint64_t checksum_of(const Tokenizer& tokenizer);

}  // namespace troupe
