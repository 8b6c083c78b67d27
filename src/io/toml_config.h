// Configuration files (TOML, docs/configuration.md) into any struct with fields (troupe/fields.h), and back.
//   base = "other.toml"      first key, optional: read that file first
//   [moe]
//   num_experts = 16         every key is a field of the struct; an unknown one is an error
// Relative paths, that of a base among them, start from the folder of the file in which they stand; those of overrides
// from the working directory.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/fields.h"

namespace troupe {

// Reads `path` and the files that it is based on, then applies overrides "key=value" in order (the last one of a key
// counts). In an override strings and names need no quotes, numbers and quoted strings of a list no brackets, and a list
// of one string neither (a bare one with a comma is refused, but in a list of sentences). Fields that nothing
// mentions keep their values; each field's `origin` says where its value came from.
// Throws kUsage: "configs/x.toml:14: moe.num_experts: expected a whole number in [0, 65536], got "12"", and for an
// override "--set moe.num_experts=x: ...".
void read_config(const std::filesystem::path& path, const std::vector<std::string>& overrides, FieldList& fields);

// The same from text; `where` stands for the file's name, and a `base` is sought in `folder`.
void read_config_text(std::string_view text, const std::string& where, const std::filesystem::path& folder,
                      FieldList& fields);
void apply_override(const std::string& override_text, FieldList& fields);

template <class Config>
Config load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides = {}) {
  Config config;
  FieldList fields = fields_of(config);
  read_config(path, overrides, fields);
  return config;
}

// Every field with its resolved value as TOML, tables in the order of the struct. Reading it back gives equal values.
// With origins each line ends in a comment that says where the value came from.
enum class Origins { kHide, kShow };
std::string to_toml(const FieldList& fields, Origins origins = Origins::kHide);
// The same for a file in `folder`: relative paths start from there.
std::string to_toml_in(const std::filesystem::path& folder, const FieldList& fields);

}  // namespace troupe
