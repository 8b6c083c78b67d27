// A configuration struct as a list that can be walked at run time. One visitor turns `fields(V&)` (troupe/fields.h)
// into descriptors; reading TOML and JSON, printing, comparing and the generated reference are functions on that list,
// so none of them is a template and a new field is one line in its struct.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "troupe/error.h"
#include "troupe/fields.h"
#include "troupe/path_fields.h"

namespace troupe {

enum class FieldKind { kBool, kInt, kDouble, kString, kEnum, kStrings, kInts, kDoubles };

// One field of a struct that outlives the descriptor.
struct Field {
  std::string path = {};  // "moe.num_experts"
  FieldKind kind = FieldKind::kBool;
  void* value = nullptr;  // bool, int64_t, double, std::string, an enum or a vector of texts, of whole numbers or of numbers
  Range range = {};
  std::string doc = {};
  std::optional<Paths> paths = {};                    // of a field that holds paths
  bool sentences = false;                             // of a list of texts: commas are part of them
  std::vector<std::string> names = {};                // of an enum's values, in the order of EnumNames
  size_t (*enum_index)(const void* value) = nullptr;  // into names
  void (*set_enum)(void* value, size_t index) = nullptr;
  std::string origin = "default";  // where the value comes from: "a.toml:3", "--set", "default"
};

// What a file holds at one key: a value of one of these types, or something else (a table, a date). `text` is how
// messages show it.
struct GivenValue {
  std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<std::string>, std::vector<int64_t>,
               std::vector<double>>
      value;
  std::string text;
};

// A list of scalars: all text, all whole numbers, or numbers; another one has no value, and its text names the item.
GivenValue list_of(const std::vector<GivenValue>& items);

class FieldList {
 public:
  template <class T>
  void operator()(std::string_view name, T& value, Range range, std::string_view doc) {
    Field field{.path = prefix_ + std::string(name), .value = &value, .range = range, .doc = std::string(doc)};
    if constexpr (std::is_same_v<T, bool>) {
      field.kind = FieldKind::kBool;
    } else if constexpr (std::is_same_v<T, int64_t>) {
      field.kind = FieldKind::kInt;
    } else if constexpr (std::is_same_v<T, double>) {
      field.kind = FieldKind::kDouble;
    } else if constexpr (std::is_same_v<T, std::string>) {
      field.kind = FieldKind::kString;
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      field.kind = FieldKind::kStrings;
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      field.kind = FieldKind::kInts;
    } else if constexpr (std::is_same_v<T, std::vector<double>>) {
      field.kind = FieldKind::kDoubles;
    } else {
      static_assert(std::is_enum_v<T>, "a configuration field of an unknown type: see troupe/fields.h");
      field.kind = FieldKind::kEnum;
      for (const auto& [label, ignored] : EnumNames<T>::values) field.names.emplace_back(label);
      field.enum_index = [](const void* at) {
        size_t index = 0;
        while (EnumNames<T>::values[index].second != *static_cast<const T*>(at)) ++index;
        return index;
      };
      field.set_enum = [](void* at, size_t index) { *static_cast<T*>(at) = EnumNames<T>::values[index].second; };
    }
    fields_.push_back(std::move(field));
  }

  template <class T>
  void operator()(std::string_view name, T& value, Paths paths, std::string_view doc) {
    (*this)(name, value, any_value(), doc);
    fields_.back().paths = paths;
  }

  template <class T>
  void operator()(std::string_view name, T& value, Sentences, std::string_view doc) {
    (*this)(name, value, any_value(), doc);
    fields_.back().sentences = true;
  }

  // A nested struct: a table.
  template <class T>
  void operator()(std::string_view name, T& nested) {
    const std::string outer = prefix_;
    prefix_ += std::string(name) + ".";
    nested.fields(*this);
    prefix_ = outer;
  }

  std::vector<Field>& fields() { return fields_; }
  const std::vector<Field>& fields() const { return fields_; }
  Field* find(std::string_view path);                   // nullptr if there is none
  bool is_table(std::string_view path) const;           // whether fields lie below this path
  std::vector<std::string> tables() const;              // "" (top level) first, then in the order of the struct
  std::string nearest_to(std::string_view path) const;  // the most similar path, for hints
  void keep(std::shared_ptr<const void> config) { kept_ = std::move(config); }

 private:
  std::shared_ptr<const void> kept_;
  std::vector<Field> fields_;
  std::string prefix_;
};

// The fields of a struct that outlives the list.
template <class Config>
FieldList fields_of(Config& config) {
  FieldList list;
  config.fields(list);
  return list;
}

// The same for reading only: the list keeps a copy.
template <class Config>
const FieldList fields_of(const Config& config) {
  const auto copy = std::make_shared<Config>(config);
  FieldList list = fields_of(*copy);
  list.keep(copy);
  return list;
}

// "moe.num_experts" is the key "num_experts" of the table "moe".
std::string table_of(const Field& field);
std::string key_of(const Field& field);

// Sets the field after checking type and range. A whole-numbered float (8e6) is a whole number; a whole number is a
// float; text is UTF-8, so that it can be written and read back. Throws `code`:
// "WHERE: moe.num_experts: expected a whole number in [0, 65536], got "12"".
void assign(Field& field, const GivenValue& given, ErrorCode code, std::string_view where);

// Throws `code`: "WHERE: moe.num_expert: expected a known key, got this one (did you mean moe.num_experts?)".
[[noreturn]] void fail_unknown_key(const FieldList& fields, std::string_view path, ErrorCode code,
                                   std::string_view where);

std::string expected_values(const Field& field);  // "a whole number in [0, 65536]", "one of sum, average"
std::string toml_string(std::string_view text);   // quoted and escaped
std::string value_text(const Field& field);       // as written in TOML: 12, 0.5, "a", ["a", "b"]

// Lines "moe.top_k: 2 in A, 1 in B" for every field that differs; both lists are of the same struct type.
std::vector<std::string> differences(const FieldList& a, const FieldList& b, std::string_view name_a,
                                     std::string_view name_b);

}  // namespace troupe
