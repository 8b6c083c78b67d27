// tokenizer_config.json and chat_template.jinja: what Hugging Face transformers knows of a tokenizer beyond
// tokenizer.json. Kept as they are and written back; the names of a few tokens are read.
#pragma once

#include <filesystem>
#include <string>

namespace troupe {

struct TokenizerConfig {
  std::string json;                  // all of tokenizer_config.json; empty: there is none
  std::string chat_template;         // all of chat_template.jinja; empty: there is none
  std::string bos_token, eos_token;  // empty: null or absent
};

// Reads what there is in `folder`. Throws kData naming file and field.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);
TokenizerConfig parse_tokenizer_config(std::string text, const std::string& where);
// Where `config` has no word of a token, null not being none, `defaults` has it, in `json` too, of which the rest stays
// as it is.
void fill_tokenizer_config(TokenizerConfig& config, const TokenizerConfig& defaults);
void write_tokenizer_config(const std::filesystem::path& folder, const TokenizerConfig& config);

}  // namespace troupe
