// A simdjson element that knows its place: "tokenizer.json: model.vocab". Getters throw kData naming the field if it is
// of another type. Included by .cpp files only. (simdjson rather than nlohmann/json: vocabularies are large objects,
// and duplicate keys stay visible.)
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/error.h"

namespace troupe {

class JsonValue {
 public:
  // The value is valid as long as `parser` (until its next document) and `where`.
  static JsonValue parse(simdjson::dom::parser& parser, std::string_view text, const std::string& where) {
    simdjson::dom::element root;
    if (const auto error = parser.parse(text.data(), text.size()).get(root)) {
      fail_at_json_error(text, where, simdjson::error_message(error));
    }
    return JsonValue(root, &where, "");
  }

  std::string where() const { return path_.empty() ? *file_ : *file_ + ": " + path_; }

  [[noreturn]] void refuse(std::string_view expected) const {
    std::string got = simdjson::minify(element_);
    if (got.size() > 100) got = got.substr(0, 100) + "...";
    fail(ErrorCode::kData, "{}: expected {}, got {}", where(), expected, got);
  }

  bool is_null() const { return element_.is_null(); }
  bool is_string() const { return element_.is_string(); }
  bool is_array() const { return element_.is_array(); }
  bool is_object() const { return element_.is_object(); }
  std::string_view string() const { return get<std::string_view>("a string"); }
  int64_t integer() const { return get<int64_t>("an integer"); }
  double number() const { return get<double>("a number"); }
  bool boolean() const { return get<bool>("true or false"); }
  std::string base64() const {  // the bytes
    std::optional<std::string> bytes = from_base64(string());
    if (!bytes) fail(ErrorCode::kData, "{}: expected base64, got other text", where());
    return std::move(*bytes);
  }

  // Fails for a key outside `known` and for one given twice.
  void require_known_keys(std::initializer_list<std::string_view> known) const {
    std::vector<std::string_view> seen;
    for_each_field([&](std::string_view key, const JsonValue& value) {
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(ErrorCode::kData, "{}: expected no such field (it would be ignored)", value.where());
      if (std::find(seen.begin(), seen.end(), key) != seen.end())
        fail(ErrorCode::kData, "{}: expected each field once, got it twice", value.where());
      seen.push_back(key);
    });
  }

  // Nothing if the field is absent; null counts as present.
  std::optional<JsonValue> find(std::string_view key) const {
    simdjson::dom::element value;
    if (get<simdjson::dom::object>("an object")[key].get(value)) return std::nullopt;
    return JsonValue(value, file_, child(key));
  }
  JsonValue at(std::string_view key) const {
    if (auto value = find(key)) return *value;
    fail(ErrorCode::kData, "{}: {}: expected a value, got none", *file_, child(key));
  }

  template <class Visit>
  void for_each_field(const Visit& visit) const {
    for (const auto field : get<simdjson::dom::object>("an object"))
      visit(field.key, JsonValue(field.value, file_, child(field.key)));
  }
  template <class Visit>
  void for_each_item(const Visit& visit) const {
    size_t index = 0;
    for (const auto item : get<simdjson::dom::array>("an array"))
      visit(JsonValue(item, file_, fmt::format("{}[{}]", path_, index++)));
  }

 private:
  JsonValue(simdjson::dom::element element, const std::string* file, std::string path)
      : element_(element), file_(file), path_(std::move(path)) {}

  // Says where `text` stops being JSON, or that it is refused for `reason`.
  [[noreturn]] static void fail_at_json_error(std::string_view text, const std::string& where, const char* reason);

  std::string child(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  template <class T>
  T get(std::string_view expected) const {
    T value;
    if (element_.get(value)) refuse(expected);
    return value;
  }

  simdjson::dom::element element_;
  const std::string* file_;
  std::string path_;
};

}  // namespace troupe
