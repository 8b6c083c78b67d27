#include "io/json_fields.h"

#include "io/json_text.h"

namespace troupe {
namespace json_fields {

using nlohmann::json;

std::string Place::text() const {
  if (!outer) return std::string(name);
  if (name.empty()) return fmt::format("{}[{}]", outer->text(), index);
  return outer->text() + (outer->outer ? "." : ": ") + std::string(name);
}

void refuse(const Place& place, std::string_view expected, const json& got) {
  fail(ErrorCode::kData, "{}: expected {}, got {}", place.text(), expected, json_excerpt(got));
}

const json* find(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

void require_object(const json& value, const Place& place) {
  if (!value.is_object()) refuse(place, "a JSON object", value);
}

void require_list(const json& value, const Place& place) {
  if (!value.is_array()) refuse(place, "a list", value);
}

void fail_missing(const Place& place) {
  fail(ErrorCode::kData, "{}: expected a value, got no such key", place.text());
}

void read(const json& from, const Place& place, bool& to) {
  if (!from.is_boolean()) refuse(place, "true or false", from);
  to = from.get<bool>();
}

void read(const json& from, const Place& place, int64_t& to) {
  if (!from.is_number_integer() || (from.is_number_unsigned() && from.get<uint64_t>() > uint64_t{INT64_MAX}))
    refuse(place, "a whole number", from);
  to = from.get<int64_t>();
}

void read(const json& from, const Place& place, uint64_t& to) {
  if (!from.is_number_unsigned()) refuse(place, "a whole number of at least 0", from);
  to = from.get<uint64_t>();
}

void read_count(const json& from, const Place& place, int64_t& to) {
  constexpr uint64_t kMost = uint64_t{1} << 60;
  if (!from.is_number_unsigned() || from.get<uint64_t>() > kMost) refuse(place, "a count", from);
  to = from.get<int64_t>();
}

void read(const json& from, const Place& place, double& to) {
  if (!from.is_null() && !from.is_number()) refuse(place, "a number", from);
  to = number_or_nan(from);
}

void read(const json& from, const Place& place, std::string& to) {
  if (!from.is_string()) refuse(place, "a string", from);
  to = from.get<std::string>();
}

void read(const json& from, const Place&, json& to) { to = from; }

}  // namespace json_fields

std::string schema_of(const nlohmann::json& object, std::string_view where) {
  const json_fields::Place place{nullptr, where};
  JsonFieldReader reader(object, place);
  std::string schema;
  reader("schema", schema);
  return schema;
}

}  // namespace troupe
