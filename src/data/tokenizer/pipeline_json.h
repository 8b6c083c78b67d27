// The parts of tokenizer.json around the model: normalizer, pre_tokenizer, post_processor and decoder. Included by .cpp
// files only.
#pragma once

#include <nlohmann/json.hpp>

#include "data/tokenizer/definition.h"
#include "data/tokenizer/json_value.h"

namespace troupe {

void require_absent_or_null(const JsonValue& object, std::string_view key);
void require_absent_or_false(const JsonValue& object, std::string_view key);
bool boolean_or(const JsonValue& object, std::string_view key, bool otherwise);
void require_type(const JsonValue& object, std::string_view type);

// Reads all four from the root of a tokenizer.json; throws kData naming the field for what this tokenizer does not do.
void read_pipeline(const JsonValue& root, TokenizerDefinition& definition);

nlohmann::ordered_json normalizer_json(const TokenizerDefinition& definition);
nlohmann::ordered_json pre_tokenizer_json(const TokenizerDefinition& definition);
nlohmann::ordered_json post_processor_json(const TokenizerDefinition& definition);
nlohmann::ordered_json decoder_json(const TokenizerDefinition& definition);

}  // namespace troupe
