#include "io/toml_config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <list>
#include <sstream>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/named_path.h"
#include "io/regular_file.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxBases = 16;

std::string text_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::boolean:
      return node.as_boolean()->get() ? "true" : "false";
    case toml::node_type::string:
      return toml_string(node.as_string()->get());
    default: {
      std::ostringstream text;
      node.visit([&](const auto& value) {
        if constexpr (toml::is_value<decltype(value)>) text << value;
      });
      return text.str();
    }
  }
}

GivenValue given_scalar(const toml::node& node) {
  GivenValue given{.value = {}, .text = text_of(node)};
  if (const auto* boolean = node.as_boolean()) given.value = boolean->get();
  if (const auto* integer = node.as_integer()) given.value = integer->get();
  if (const auto* number = node.as_floating_point()) given.value = number->get();
  if (const auto* text = node.as_string()) given.value = text->get();
  return given;
}

GivenValue given_value(const toml::node& node) {
  const toml::array* list = node.as_array();
  if (!list) return given_scalar(node);
  std::vector<GivenValue> items;
  for (const toml::node& item : *list) items.push_back(given_scalar(item));
  return list_of(items);
}

// The field's paths, each as `change` makes it.
template <class Change>
void change_paths(Field& field, const fs::path& base, const std::string& where, const Change& change) {
  if (field.kind == FieldKind::kString) {
    std::string& path = *static_cast<std::string*>(field.value);
    if (!path.empty()) path = change(path);
    return;
  }
  for (std::string& entry : *static_cast<std::vector<std::string>*>(field.value)) {
    if (entry.empty()) continue;  // refused by who reads it
    if (field.paths == Paths::kToml) {
      if (entry.ends_with(".toml")) entry = change(entry);
      continue;
    }
    const NamedPath named = parse_named_path(entry, where + ": " + field.path, base);
    entry = named.given ? named.name + "=" + change(named.path) : change(named.path);
  }
}

// From `folder` to the working directory.
void start_from(const fs::path& folder, Field& field, const std::string& where) {
  change_paths(field, folder, where, [&](const fs::path& path) { return (folder / path).string(); });
}

void read_table(const toml::table& table, const std::string& prefix, const std::string& where, const fs::path& folder,
                FieldList& fields) {
  for (const auto& [key, node] : table) {
    const std::string path = prefix + std::string(key.str());
    const std::string at = fmt::format("{}:{}", where, key.source().begin.line);
    if (Field* field = fields.find(path)) {
      assign(*field, given_value(node), ErrorCode::kUsage, at);
      if (field->paths) start_from(folder, *field, at);
      field->origin = at;
    } else if (!fields.is_table(path)) {
      fail_unknown_key(fields, path, ErrorCode::kUsage, at);
    } else if (const toml::table* nested = node.as_table()) {
      read_table(*nested, path + ".", where, folder, fields);
    } else {
      fail(ErrorCode::kUsage, "{}: {}: expected a table, got {}", at, path, text_of(node));
    }
  }
}

toml::table parse(std::string_view text, const std::string& where) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    fail(ErrorCode::kUsage, "{}:{}: expected TOML, got: {}", where, error.source().begin.line, error.description());
  }
}

void read_file_into(const fs::path& path, std::vector<fs::path>& chain, const std::string& asked_at, FieldList& fields);

void read_text_into(std::string_view text, const std::string& where, const fs::path& folder,
                    std::vector<fs::path>& chain, FieldList& fields) {
  toml::table table = parse(text, where);
  if (const toml::node* base = table.get("base"); base && !fields.find("base")) {
    const std::string at = fmt::format("{}:{}", where, base->source().begin.line);
    if (!base->is_string())
      fail(ErrorCode::kUsage, "{}: base: expected the path of a configuration file, got {}", at, text_of(*base));
    read_file_into(folder / base->as_string()->get(), chain, at + ": base: ", fields);
    table.erase("base");
  }
  read_table(table, "", where, folder, fields);
}

void read_file_into(const fs::path& path, std::vector<fs::path>& chain, const std::string& asked_at,
                    FieldList& fields) {
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(path, error);
  if (const std::string kind = kind_of_file(path); kind != "a file")
    fail(ErrorCode::kUsage, "{}{}: expected a configuration file, got {}", asked_at, path.string(), kind);
  if (std::find(chain.begin(), chain.end(), resolved) != chain.end())
    fail(ErrorCode::kUsage, "{}{}: expected bases to end, got a file that is based on itself", asked_at, path.string());
  if (chain.size() == kMaxBases)
    fail(ErrorCode::kUsage, "{}{}: expected at most {} bases", asked_at, path.string(), kMaxBases);
  chain.push_back(resolved);
  read_text_into(read_file(path), path.string(), path.parent_path(), chain, fields);
}

bool is_quoted(std::string_view text) { return text.starts_with('"') || text.starts_with('\''); }

std::string without(std::string_view characters, std::string_view text) {  // at either end
  const size_t begin = text.find_first_not_of(characters);
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(characters) - begin + 1));
}

// " (write --set 'data.weights=["a=1", "b=2"]')" for a list of texts without its brackets or quotes.
std::string written_list(const Field& field, const std::string& text) {
  std::vector<std::string> items;
  std::istringstream parts(without("[] ", text));
  for (std::string item; std::getline(parts, item, ',');) items.push_back(toml_string(without(" \"'", item)));
  std::string hint = fmt::format(" (write --set '{}=[{}]'", field.path, fmt::join(items, ", "));
  if (!text.starts_with('[') && !is_quoted(text))
    hint += fmt::format(", or one text with a comma: --set '{}=[{}]'", field.path, toml_string(text));
  return hint + ")";
}

// An override's value: TOML, where strings, names and a list of one need no quotes and lists no brackets.
GivenValue override_value(const Field& field, const std::string& text, const std::string& where) {
  const bool wants_text = field.kind == FieldKind::kString || field.kind == FieldKind::kEnum;
  const bool texts = field.kind == FieldKind::kStrings;
  const bool numbers = field.kind == FieldKind::kInts || field.kind == FieldKind::kDoubles;
  if (wants_text && !is_quoted(text)) return {.value = text, .text = toml_string(text)};
  const bool separated = text.find(',') != text.npos;
  const bool bare = texts && !text.empty() && !text.starts_with('[') && !is_quoted(text);
  if (bare && (field.sentences || !separated))
    return {.value = std::vector<std::string>{text}, .text = toml_string(text)};  // a list of one
  if (!bare && !text.empty() && text.find('\n') == text.npos) {
    try {
      const bool no_brackets = (numbers || texts) && !text.starts_with('[');  // seeds=1,2
      const toml::table table = toml::parse("value = " + (no_brackets ? "[" + text + "]" : text));
      return given_value(*table.get("value"));
    } catch (const toml::parse_error&) {
      // Not TOML: reported below with what the field expects.
    }
  }
  fail(ErrorCode::kUsage, "{}: {}: expected {}, got {}{}", where, field.path, expected_values(field),
       text.empty() ? "nothing" : text, texts && !text.empty() ? written_list(field, text) : "");
}

}  // namespace

void read_config(const fs::path& path, const std::vector<std::string>& overrides, FieldList& fields) {
  std::vector<fs::path> chain;
  read_file_into(path, chain, "", fields);
  for (const std::string& text : overrides) apply_override(text, fields);
}

void read_config_text(std::string_view text, const std::string& where, const fs::path& folder, FieldList& fields) {
  std::vector<fs::path> chain;
  read_text_into(text, where, folder, chain, fields);
}

void apply_override(const std::string& override_text, FieldList& fields) {
  const std::string where = "--set " + override_text;
  const size_t equals = override_text.find('=');
  if (equals == override_text.npos || equals == 0)
    fail(ErrorCode::kUsage, "{}: expected key=value, got {}", where, equals == 0 ? "no key" : "no '='");
  const std::string path = override_text.substr(0, equals);
  Field* field = fields.find(path);
  if (!field && fields.is_table(path))
    fail(ErrorCode::kUsage, "{}: {}: expected one key, got a table (did you mean {}?)", where, path,
         fields.nearest_to(path));
  if (!field) fail_unknown_key(fields, path, ErrorCode::kUsage, where);
  assign(*field, override_value(*field, override_text.substr(equals + 1), where), ErrorCode::kUsage, where);
  field->origin = "--set";
}

std::string to_toml(const FieldList& fields, Origins origins) {
  std::string out;  // TOML wants the keys of a table before its nested tables
  for (const std::string& table : fields.tables()) {
    if (!table.empty()) out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", table);
    for (const Field& field : fields.fields()) {
      if (table_of(field) != table) continue;
      out += key_of(field) + " = " + value_text(field);
      out += origins == Origins::kShow ? fmt::format("  # {}\n", field.origin) : "\n";
    }
  }
  return out;
}

std::string to_toml_in(const fs::path& folder, const FieldList& fields) {
  FieldList moved = fields;
  std::list<std::vector<std::string>> lists;  // the originals are not ours
  std::list<std::string> texts;
  for (Field& field : moved.fields()) {
    if (!field.paths) continue;
    if (field.kind == FieldKind::kString)
      field.value = &texts.emplace_back(*static_cast<const std::string*>(field.value));
    else
      field.value = &lists.emplace_back(*static_cast<const std::vector<std::string>*>(field.value));
    change_paths(field, {}, "configuration", [&](const fs::path& path) {
      if (path.is_absolute()) return path.string();
      const fs::path from_there =
          fs::absolute(path).lexically_normal().lexically_relative(fs::weakly_canonical(fs::absolute(folder)));
      return from_there.empty() ? path.string() : from_there.string();
    });
  }
  return to_toml(moved);
}

}  // namespace troupe
