// A TOML table whose keys must all be asked for: those left over are errors.
#pragma once

#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"

namespace troupe {

class TomlReader {
 public:
  // `where` is the file's name, `path` what stands before keys in messages ("paper.").
  TomlReader(const toml::table& table, std::string where, std::string path = "")
      : table_(table), where_(std::move(where)), path_(std::move(path)) {}

  [[noreturn]] void fail_at(const toml::node* node, std::string_view key, std::string_view expected,
                            std::string_view got) const {
    const auto line = (node ? *node : static_cast<const toml::node&>(table_)).source().begin.line;
    fail(ErrorCode::kUsage, "{}:{}: {}{}: expected {}, got {}", where_, line, path_, key, expected, got);
  }

  const toml::node* find(std::string_view key) {
    known_.emplace_back(key);
    return table_.get(key);
  }

  std::optional<std::string> optional_text(std::string_view key) {
    const toml::node* node = find(key);
    if (!node) return std::nullopt;
    if (!node->is_string()) fail_at(node, key, "a string", kind(*node));
    return **node->as_string();
  }
  std::string text(std::string_view key) {
    auto value = optional_text(key);
    if (!value) fail_at(nullptr, key, "a string", "no such key");
    return *value;
  }
  std::optional<bool> optional_flag(std::string_view key) {
    const toml::node* node = find(key);
    if (!node) return std::nullopt;
    if (!node->is_boolean()) fail_at(node, key, "true or false", kind(*node));
    return **node->as_boolean();
  }
  // A string or a list of strings.
  std::vector<std::string> texts(std::string_view key) {
    const toml::node* node = find(key);
    std::vector<std::string> values;
    if (!node) return values;
    if (node->is_string()) return {**node->as_string()};
    if (!node->is_array()) fail_at(node, key, "a string or a list of strings", kind(*node));
    for (const toml::node& element : *node->as_array()) {
      if (!element.is_string()) fail_at(&element, key, "a list of strings", kind(element));
      values.push_back(**element.as_string());
    }
    return values;
  }
  const toml::table* table(std::string_view key) {
    const toml::node* node = find(key);
    if (node && !node->is_table()) fail_at(node, key, "a table", kind(*node));
    return node ? node->as_table() : nullptr;
  }
  TomlReader reader(const toml::table& table, std::string_view key) const {
    return {table, where_, path_ + std::string(key) + "."};
  }
  // Where a value stands, for messages of others: "tasks/piqa.toml:12: paper.context".
  std::string place(std::string_view key) const {
    const toml::node* node = table_.get(key);
    return fmt::format("{}:{}: {}{}", where_,
                       (node ? *node : static_cast<const toml::node&>(table_)).source().begin.line, path_, key);
  }

  // To be called after the last key was asked for.
  void finish() const {
    for (const auto& [key, node] : table_)
      if (std::find(known_.begin(), known_.end(), key.str()) == known_.end())
        fail_at(&node, key.str(), "a known key",
                fmt::format("this one (did you mean {}?)", nearest(key.str(), known_)));
  }

  static std::string kind(const toml::node& node) {
    switch (node.type()) {
      case toml::node_type::table:
        return "a table";
      case toml::node_type::array:
        return "a list";
      case toml::node_type::string:
        return "a string";
      case toml::node_type::integer:
      case toml::node_type::floating_point:
        return "a number";
      case toml::node_type::boolean:
        return "a boolean";
      default:
        return "a date or time";
    }
  }

 private:
  const toml::table& table_;
  std::string where_, path_;
  std::vector<std::string> known_;
};

}  // namespace troupe
