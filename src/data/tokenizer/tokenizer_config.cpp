#include "data/tokenizer/tokenizer_config.h"

#include <simdjson.h>

#include "data/tokenizer/json_value.h"
#include "io/atomic_file.h"
#include "io/tokenizer_files.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// "<s>", {"content": "<s>", ...} or null.
std::string token_name(const JsonValue& root, std::string_view key) {
  const auto token = root.find(key);
  if (!token || token->is_null()) return {};
  if (token->is_string()) return std::string(token->string());
  if (!token->is_object()) token->refuse("a token's text, an object with its content, or null");
  return std::string(token->at("content").string());
}

}  // namespace

TokenizerConfig parse_tokenizer_config(std::string text, const std::string& where) {
  simdjson::dom::parser parser;
  const JsonValue root = JsonValue::parse(parser, text, where);
  TokenizerConfig config;
  config.bos_token = token_name(root, "bos_token");
  config.eos_token = token_name(root, "eos_token");
  config.json = std::move(text);
  return config;
}

TokenizerConfig read_tokenizer_config(const fs::path& folder) {
  TokenizerConfig config;
  if (const fs::path file = folder / kTokenizerConfigFile; fs::exists(file))
    config = parse_tokenizer_config(read_file(file), file.string());
  if (const fs::path file = folder / kChatTemplateFile; fs::exists(file)) config.chat_template = read_file(file);
  return config;
}

void write_tokenizer_config(const fs::path& folder, const TokenizerConfig& config) {
  if (!config.json.empty()) write_file_atomically(folder / kTokenizerConfigFile, config.json);
  if (!config.chat_template.empty()) write_file_atomically(folder / kChatTemplateFile, config.chat_template);
}

}  // namespace troupe
