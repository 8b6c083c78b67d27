#include "io/config_reference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

namespace troupe {
namespace {

std::string type_name(const Field& field) {
  if (field.paths == Paths::kToml) return "names, paths";
  if (field.paths) return field.kind == FieldKind::kString ? "path" : "paths";
  switch (field.kind) {
    case FieldKind::kBool:
      return "boolean";
    case FieldKind::kInt:
      return "integer";
    case FieldKind::kDouble:
      return "float";
    case FieldKind::kString:
      return "string";
    case FieldKind::kEnum:
      return "name";
    case FieldKind::kStrings:
      return "strings";
    case FieldKind::kInts:
      return "integers";
    case FieldKind::kDoubles:
      return "floats";
  }
  return {};
}

std::string allowed(const Field& field) {
  if (field.kind == FieldKind::kEnum) return fmt::format("`{}`", fmt::join(field.names, "`, `"));
  const bool low = std::isfinite(field.range.low), high = std::isfinite(field.range.high);
  if (low && high) return fmt::format("{} to {}", field.range.low, field.range.high);
  if (low) return fmt::format("≥ {}", field.range.low);
  if (high) return fmt::format("≤ {}", field.range.high);
  return {};
}

std::string in_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string to_markdown(const FieldList& fields) {
  std::string out;
  for (const std::string& table : fields.tables()) {
    out += fmt::format("{}## {}\n\n| key | type | default | values | meaning |\n|---|---|---|---|---|\n",
                       out.empty() ? "" : "\n", table.empty() ? "Top level" : "`[" + table + "]`");
    for (const Field& field : fields.fields())
      if (table_of(field) == table)
        out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", key_of(field), type_name(field),
                           in_cell(value_text(field)), allowed(field), in_cell(field.doc));
  }
  return out;
}

}  // namespace troupe
