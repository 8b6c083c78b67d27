#include "io/json_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/json_text.h"

namespace troupe {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

ordered_json value_of(const Field& field) {
  switch (field.kind) {
    case FieldKind::kBool:
      return *static_cast<const bool*>(field.value);
    case FieldKind::kInt:
      return *static_cast<const int64_t*>(field.value);
    case FieldKind::kDouble:
      return *static_cast<const double*>(field.value);
    case FieldKind::kString:
      return *static_cast<const std::string*>(field.value);
    case FieldKind::kEnum:
      return field.names[field.enum_index(field.value)];
    case FieldKind::kStrings:
      return *static_cast<const std::vector<std::string>*>(field.value);
    case FieldKind::kInts:
      return *static_cast<const std::vector<int64_t>*>(field.value);
    case FieldKind::kDoubles:
      return *static_cast<const std::vector<double>*>(field.value);
  }
  return nullptr;
}

std::string text_of(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  return json_text(value);
}

GivenValue given_scalar(const json& value) {
  GivenValue given{.value = {}, .text = text_of(value)};
  if (value.is_boolean()) given.value = value.get<bool>();
  if (value.is_number_float()) given.value = value.get<double>();
  if (value.is_string()) given.value = value.get<std::string>();
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    given.value = value.get<double>();
  else if (value.is_number_integer())
    given.value = value.get<int64_t>();
  return given;
}

GivenValue given_value(const json& value) {
  if (!value.is_array()) return given_scalar(value);
  std::vector<GivenValue> items;
  for (const json& item : value) items.push_back(given_scalar(item));
  return list_of(items);
}

void read_object(const json& object, const std::string& prefix, const std::string& where, FieldList& fields) {
  for (const auto& [key, value] : object.items()) {
    const std::string path = prefix + key;
    if (Field* field = fields.find(path)) {
      assign(*field, given_value(value), ErrorCode::kData, where);
      field->origin = where;
    } else if (!fields.is_table(path)) {
      fail_unknown_key(fields, path, ErrorCode::kData, where);
    } else if (value.is_object()) {
      read_object(value, path + ".", where, fields);
    } else {
      fail(ErrorCode::kData, "{}: {}: expected an object, got {}", where, path, text_of(value));
    }
  }
}

}  // namespace

ordered_json to_json(const FieldList& fields) {
  ordered_json root = ordered_json::object();
  for (const Field& field : fields.fields()) {
    ordered_json* object = &root;
    std::string_view rest = field.path;
    for (size_t dot = rest.find('.'); dot != rest.npos; dot = rest.find('.')) {
      object = &(*object)[std::string(rest.substr(0, dot))];
      rest.remove_prefix(dot + 1);
    }
    (*object)[std::string(rest)] = value_of(field);
  }
  return root;
}

void from_json(const json& object, const std::string& where, FieldList& fields) {
  if (!object.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", where, text_of(object));
  read_object(object, "", where, fields);
}

}  // namespace troupe
