#include "data/text/json_line.h"

#include <simdjson.h>

#include "base/error.h"
#include "base/nearest.h"
#include "data/text/utf8.h"

namespace troupe {

namespace dom = simdjson::dom;

struct JsonLineParser::Impl {
  dom::parser parser;
  dom::object object;
};

namespace {

const char* type_name(dom::element element) {
  switch (element.type()) {
    case dom::element_type::ARRAY:
      return "an array";
    case dom::element_type::OBJECT:
      return "an object";
    case dom::element_type::STRING:
      return "a string";
    case dom::element_type::BOOL:
      return "a boolean";
    case dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

std::string known_keys(dom::object object, std::string_view field) {
  std::vector<std::string> keys;
  for (const auto& entry : object) keys.emplace_back(entry.key);
  if (keys.empty()) return "the object is empty";
  const std::string near = nearest(field, keys);
  std::string list;
  for (size_t i = 0; i < keys.size() && i < 8; ++i) list += (i ? ", " : "") + keys[i];
  if (keys.size() > 8) list += ", ...";
  return fmt::format("keys: {}; did you mean {}?", list, near);
}

}  // namespace

JsonLineParser::JsonLineParser() : impl_(std::make_unique<Impl>()) {}
JsonLineParser::~JsonLineParser() = default;

bool JsonLineParser::parse(std::string_view line, Failure& failure) {
  dom::element element;
  const auto error = impl_->parser.parse(line.data(), line.size(), /*realloc_if_needed=*/true).get(element);
  if (error == simdjson::UTF8_ERROR) {
    const size_t at = find_invalid_utf8(line).value_or(0);
    failure = {SkipReason::kInvalidUtf8, fmt::format("expected UTF-8, got byte 0x{:02X} at byte {} of the line",
                                                     static_cast<unsigned char>(line[at]), at + 1)};
    return false;
  }
  if (error) {
    failure = {SkipReason::kBadJson,
               fmt::format("expected a JSON object, got bad JSON: {}", simdjson::error_message(error))};
    return false;
  }
  if (element.get(impl_->object)) {
    failure = {SkipReason::kBadJson, fmt::format("expected a JSON object, got {}", type_name(element))};
    return false;
  }
  return true;
}

bool JsonLineParser::get(std::string_view field, std::string& value, Failure& failure) {
  dom::object object = impl_->object;
  dom::element element;
  std::string_view rest = field;
  while (object.at_key(rest).get(element)) {  // the whole rest is not a key: descend by its first part
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos || object.at_key(rest.substr(0, dot)).get(element)) {
      failure = {SkipReason::kMissingField,
                 fmt::format("{}: expected this field, got none ({})", field, known_keys(object, rest))};
      return false;
    }
    if (element.get(object)) {
      failure = {SkipReason::kWrongType, fmt::format("{}: expected {} to be an object, got {}", field,
                                                     rest.substr(0, dot), type_name(element))};
      return false;
    }
    rest.remove_prefix(dot + 1);
  }
  std::string_view text;
  if (element.get(text)) {
    failure = {SkipReason::kWrongType, fmt::format("{}: expected a string, got {}", field, type_name(element))};
    return false;
  }
  value.assign(text);
  return true;
}

}  // namespace troupe
