// Lines and files of JSON that Troupe both writes and reads, as structs that list their members once:
//   template <class V> void fields(V& v) { v.constant("schema", "troupe.valid/1"), v("data", data), v.count("step",
//   step); }
// json_of() and read_json_fields() visit that list, so that writer and reader cannot disagree. (Configurations, whose
// unknown keys are errors and whose values have ranges and docs, are io/fields.h.)
// Members: bool, int64_t, uint64_t, double (NaN is null), std::string, enums with EnumNames, std::optional (null),
// std::vector and std::tuple (lists), structs with fields() (objects), nlohmann::json (any value).
// Included by .cpp files only.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "troupe/fields.h"

namespace troupe {

namespace json_fields {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsTuple : std::false_type {};
template <class... T>
struct IsTuple<std::tuple<T...>> : std::true_type {};
template <class T>
constexpr bool kIsPlain = std::is_same_v<T, bool> || std::is_same_v<T, int64_t> || std::is_same_v<T, uint64_t> ||
                          std::is_same_v<T, double> || std::is_same_v<T, std::string> ||
                          std::is_same_v<T, nlohmann::json>;

// Where a value stands; put into words for messages alone.
struct Place {
  const Place* outer = nullptr;  // of the object or list that holds it; none: the file or line
  std::string_view name = {};    // of the file or line, or the key
  size_t index = 0;              // in a list, if there is no key

  std::string text() const;  // "metrics.jsonl:12: moe[0].load"
};

[[noreturn]] void refuse(const Place& place, std::string_view expected, const nlohmann::json& got);
const nlohmann::json* find(const nlohmann::json& object, const char* key);
void require_object(const nlohmann::json& value, const Place& place);
void require_list(const nlohmann::json& value, const Place& place);
[[noreturn]] void fail_missing(const Place& place);

void read(const nlohmann::json& from, const Place& place, bool& to);
void read(const nlohmann::json& from, const Place& place, int64_t& to);
void read(const nlohmann::json& from, const Place& place, uint64_t& to);
void read(const nlohmann::json& from, const Place& place, double& to);
void read(const nlohmann::json& from, const Place& place, std::string& to);
void read(const nlohmann::json& from, const Place& place, nlohmann::json& to);
void read_count(const nlohmann::json& from, const Place& place, int64_t& to);

}  // namespace json_fields

class JsonFieldWriter {
 public:
  explicit JsonFieldWriter(nlohmann::ordered_json& object) : object_(object) {}

  void constant(const char* key, std::string_view text) { object_[key] = text; }
  template <class T>
  void operator()(const char* key, T& value) {
    put(object_[key], value);
  }
  void count(const char* key, int64_t& value) { object_[key] = value; }
  template <class T>
  void may_lack(const char* key, T& value) {
    (*this)(key, value);
  }
  template <class T>
  void unless_empty(const char* key, T& value) {
    if constexpr (json_fields::IsOptional<T>::value) {
      if (value) (*this)(key, value);
    } else {
      if (!value.empty()) (*this)(key, value);
    }
  }

 private:
  template <class T>
  static void put(nlohmann::ordered_json& to, T& value) {
    using namespace json_fields;
    if constexpr (kIsPlain<T>) {
      to = value;
    } else if constexpr (std::is_enum_v<T>) {
      to = name_of_enum(value);
    } else if constexpr (IsOptional<T>::value) {
      if (value) put(to, *value);
    } else if constexpr (IsVector<T>::value) {
      to = nlohmann::ordered_json::array();
      for (auto& item : value) put(to.emplace_back(nullptr), item);
    } else if constexpr (IsTuple<T>::value) {
      to = nlohmann::ordered_json::array();
      std::apply([&](auto&... item) { (put(to.emplace_back(nullptr), item), ...); }, value);
    } else {
      to = nlohmann::ordered_json::object();
      JsonFieldWriter inner(to);
      value.fields(inner);
    }
  }

  nlohmann::ordered_json& object_;
};

class JsonFieldReader {
 public:
  // `object` and `place` outlive the reader. Throws kData unless it is an object.
  JsonFieldReader(const nlohmann::json& object, const json_fields::Place& place) : object_(object), place_(place) {
    json_fields::require_object(object, place);
  }

  // A text that says what the object is: schema or format.
  void constant(const char* key, std::string_view text) {
    const json_fields::Place place{&place_, key};
    if (const nlohmann::json& value = at(key); value != text) json_fields::refuse(place, text, value);
  }
  template <class T>
  void operator()(const char* key, T& value) {
    get(at(key), {&place_, key}, value);
  }
  // A whole number that is not negative, and of which a few can be added.
  void count(const char* key, int64_t& value) { json_fields::read_count(at(key), {&place_, key}, value); }
  // What older files lack keeps its value.
  template <class T>
  void may_lack(const char* key, T& value) {
    if (const nlohmann::json* found = json_fields::find(object_, key)) get(*found, {&place_, key}, value);
  }
  // What is not written if it is empty.
  template <class T>
  void unless_empty(const char* key, T& value) {
    may_lack(key, value);
  }

 private:
  const nlohmann::json& at(const char* key) const {
    if (const nlohmann::json* found = json_fields::find(object_, key)) return *found;
    json_fields::fail_missing({&place_, key});
  }

  template <class T>
  static void get(const nlohmann::json& from, const json_fields::Place& place, T& to) {
    using namespace json_fields;
    if constexpr (kIsPlain<T>) {
      read(from, place, to);
    } else if constexpr (std::is_enum_v<T>) {
      std::string text, expected;
      read(from, place, text);
      for (const auto& [name, value] : EnumNames<T>::values) {
        if (name == text) return void(to = value);
        expected += (expected.empty() ? "one of " : ", ") + std::string(name);
      }
      refuse(place, expected, from);
    } else if constexpr (IsOptional<T>::value) {
      from.is_null() ? to.reset() : get(from, place, to.emplace());
    } else if constexpr (IsVector<T>::value) {
      require_list(from, place);
      to.clear();
      for (size_t i = 0; i < from.size(); ++i) get(from[i], {&place, {}, i}, to.emplace_back());
    } else if constexpr (IsTuple<T>::value) {
      require_list(from, place);
      if (from.size() != std::tuple_size_v<T>)
        refuse(place, "a list of " + std::to_string(std::tuple_size_v<T>), from);
      size_t i = 0;
      std::apply([&](auto&... item) { ((get(from[i], {&place, {}, i}, item), ++i), ...); }, to);
    } else {
      JsonFieldReader inner(from, place);
      to.fields(inner);
    }
  }

  const nlohmann::json& object_;
  const json_fields::Place& place_;
};

template <class T>
nlohmann::ordered_json json_of(const T& object) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  JsonFieldWriter writer(json);
  T copy = object;  // fields() may change it
  copy.fields(writer);
  return json;
}

// `where` opens every message: a file, or a file and its line. Keys that no member has are passed over. Throws kData:
// "WHERE: moe[0].load: expected a list, got 1".
template <class T>
void read_json_fields(const nlohmann::json& json, std::string_view where, T& object) {
  const json_fields::Place place{nullptr, where};
  JsonFieldReader reader(json, place);
  object.fields(reader);
}

// The text under "schema"; throws kData if there is none.
std::string schema_of(const nlohmann::json& object, std::string_view where);

}  // namespace troupe
