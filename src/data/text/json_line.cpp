#include "data/text/json_line.h"

#include <simdjson.h>

#include <new>

#include "base/error.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "data/text/python_json.h"

namespace troupe {

namespace dom = simdjson::dom;

struct JsonLineParser::Impl {
  dom::parser parser;
  dom::object object;
  PlainJson plain;  // of the line, if it was not JSON as it is; else empty
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

// The value of `key`, which the object must have once: JSON leaves open which of several counts.
enum class Found { kNone, kOnce, kTwice };
Found find(dom::object object, std::string_view key, dom::element& value) {
  Found found = Found::kNone;
  for (const auto& entry : object) {
    if (entry.key != key) continue;
    if (found == Found::kOnce) return Found::kTwice;
    found = Found::kOnce;
    value = entry.value;
  }
  return found;
}

}  // namespace

JsonLineParser::JsonLineParser() : impl_(std::make_unique<Impl>()) {}
JsonLineParser::~JsonLineParser() = default;

bool JsonLineParser::parse(std::string_view line, Failure& failure) {
  dom::element element;
  auto error = impl_->parser.parse(line.data(), line.size(), /*realloc_if_needed=*/true).get(element);
  impl_->plain = {};
  if (error && error != simdjson::UTF8_ERROR && error != simdjson::MEMALLOC) {
    impl_->plain = plain_json(line);
    if (impl_->plain.changed) error = impl_->parser.parse(impl_->plain.text).get(element);
  }
  if (error == simdjson::MEMALLOC) throw std::bad_alloc();
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
  const auto wrong = [&](SkipReason reason, const std::string& message) {
    failure = {reason, fmt::format("{}: {}", field, message)};
    return false;
  };
  const auto twice = [&](std::string_view key) {
    return wrong(SkipReason::kBadJson, fmt::format("expected the key {} once, got it twice", key));
  };
  for (;;) {
    const Found whole = find(object, rest, element);
    if (whole == Found::kOnce) break;
    if (whole == Found::kTwice) return twice(rest);
    const size_t dot = rest.find('.');  // the whole rest is not a key: descend by its first part
    const Found part = dot == rest.npos ? Found::kNone : find(object, rest.substr(0, dot), element);
    if (part == Found::kTwice) return twice(rest.substr(0, dot));
    if (part == Found::kNone)
      return wrong(SkipReason::kMissingField,
                   fmt::format("expected this field, got none ({})", known_keys(object, rest)));
    if (element.get(object))
      return wrong(SkipReason::kWrongType,
                   fmt::format("expected {} to be an object, got {}", rest.substr(0, dot), type_name(element)));
    rest.remove_prefix(dot + 1);
  }
  std::string_view text;
  if (element.get(text))
    return wrong(SkipReason::kWrongType, fmt::format("expected a string, got {}", type_name(element)));
  if (!impl_->plain.lone_surrogates.empty() && text.find("\xEF\xBF\xBD") != text.npos)
    for (const auto& lone : impl_->plain.lone_surrogates)
      if (lone.path == field || lone.path.find('\\') != lone.path.npos)  // a key with escapes could be this one
        return wrong(SkipReason::kInvalidUtf8,
                     fmt::format("expected Unicode text, got the lone surrogate {} at byte {} of the line (half of a "
                                 "pair, which UTF-8 cannot hold)",
                                 lone.escape, lone.byte + 1));
  value.assign(text);
  return true;
}

}  // namespace troupe
