// A Hugging Face config.json, read or written by the same function of a family (families.h): each setting names a key,
// the field of ModelConfig that it is, and what the family's releases mean where the key is absent.
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/config.h"

namespace troupe {

class HfConfig {
 public:
  // To read from; `where` opens every message. Throws kData as the methods do.
  HfConfig(nlohmann::ordered_json object, std::string where) : object_(std::move(object)), where_(std::move(where)) {}
  // To write.
  HfConfig() : writes_(true) {}

  bool writes() const { return writes_; }
  const std::string& where() const { return where_; }
  const nlohmann::ordered_json& object() const { return object_; }

  // Reading: the field gets the key's value (null counts as absent), or `usual`. Writing: the key gets the field's.
  void operator()(const char* key, int64_t& field, int64_t usual) { visit(key, field, &usual); }
  void operator()(const char* key, double& field, double usual) { visit(key, field, &usual); }
  void operator()(const char* key, bool& field, bool usual) { visit(key, field, &usual); }
  // Without a usual value the key must be there.
  void operator()(const char* key, int64_t& field) { visit(key, field, static_cast<const int64_t*>(nullptr)); }
  // The activation, by its name.
  void activation(const char* key, ModelConfig& config, std::string_view usual);

  // What this decoder computes in one way alone: reading refuses another value than `only`, absent counts as it;
  // writing gives it. `missing` says which fact of ours is missing.
  void require(const char* key, const nlohmann::ordered_json& only, std::string_view missing);
  // Settings without an effect on what is computed from tokens: no words about them.
  void ignore(std::initializer_list<const char*> keys);

  // The value of a key as it is; null if it is absent or null.
  const nlohmann::ordered_json& at(const char* key);
  void set(const char* key, nlohmann::ordered_json value) { object_[key] = std::move(value); }
  [[noreturn]] void refuse(std::string_view key, std::string_view expected, const nlohmann::ordered_json& got) const;

  // Keys of the file that nobody asked for and that say something.
  std::vector<std::string> unknown() const;

 private:
  template <class T>
  void visit(const char* key, T& field, const T* usual);

  nlohmann::ordered_json object_ = nlohmann::ordered_json::object();
  std::string where_;
  std::vector<std::string> asked_;
  bool writes_ = false;
};

}  // namespace troupe
