#include "data/tokenizer/tokenizer_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/tokenizer_files.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// "<s>", {"content": "<s>", ...} or null.
std::string token_name(const nlohmann::json& root, const char* key, const std::string& where) {
  const auto token = root.find(key);
  if (token == root.end() || token->is_null()) return {};
  const nlohmann::json text = token->is_object() ? token->value("content", nlohmann::json()) : *token;
  if (text.is_string()) return text;
  fail(ErrorCode::kData, "{}: {}: expected a token's text, an object with its content, or null, got {}", where, key,
       json_excerpt(*token));
}

}  // namespace

TokenizerConfig parse_tokenizer_config(std::string text, const std::string& where) {
  const nlohmann::json root = parse_json(text, where);
  if (!root.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", where, root.type_name());
  TokenizerConfig config;
  config.bos_token = token_name(root, "bos_token", where);
  config.eos_token = token_name(root, "eos_token", where);
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

void fill_tokenizer_config(TokenizerConfig& config, const TokenizerConfig& defaults) {
  if (config.json.empty()) {
    config.json = defaults.json, config.bos_token = defaults.bos_token, config.eos_token = defaults.eos_token;
    return;
  }
  const nlohmann::json root = parse_json(config.json, kTokenizerConfigFile);
  std::string added;
  const auto fill = [&](const char* key, std::string& token, const std::string& by_default) {
    if (by_default.empty() || root.contains(key)) return;
    token = by_default;
    added += fmt::format("{}\n \"{}\": {}", added.empty() ? "" : ",", key, json_text(nlohmann::json(by_default)));
  };
  fill("bos_token", config.bos_token, defaults.bos_token);
  fill("eos_token", config.eos_token, defaults.eos_token);
  // Not written anew: numbers of the file may be larger than JSON's writer can say.
  if (!added.empty()) config.json.insert(config.json.find('{') + 1, added + (root.empty() ? "\n" : ","));
}

void write_tokenizer_config(const fs::path& folder, const TokenizerConfig& config) {
  if (!config.json.empty()) write_file_atomically(folder / kTokenizerConfigFile, config.json);
  if (!config.chat_template.empty()) write_file_atomically(folder / kChatTemplateFile, config.chat_template);
}

}  // namespace troupe
