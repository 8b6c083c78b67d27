// What the name of a token stands for, by the decoder of a tokenizer.json.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "data/tokenizer/definition.h"

namespace troupe {

// The bytes behind a name by the steps that concern single tokens: all but kByteLevel, kFuse and kStrip, and what
// kMetaspace does to the first token.
std::string decoded_name(std::span<const TokenDecoder> decoders, std::string_view name);

// The text of tokens that stand for `bytes` together, the first for `first_bytes` of them: without what the decoder
// takes from its start.
std::string without_opening(std::span<const TokenDecoder> decoders, std::string bytes, size_t first_bytes);

}  // namespace troupe
