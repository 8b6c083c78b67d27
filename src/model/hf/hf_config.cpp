#include "model/hf/hf_config.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "io/json_text.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;

const ordered_json kNull;

template <class T>
bool holds(const ordered_json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, int64_t>) return value.is_number_integer();
  return value.is_number();
}
template <class T>
constexpr std::string_view kKind = "a number";
template <>
constexpr std::string_view kKind<bool> = "true or false";
template <>
constexpr std::string_view kKind<int64_t> = "a whole number";

// Names of activations; the first of equal ones is written.
struct ActivationName {
  std::string_view name;
  FfnActivation activation;
  Gelu gelu;
};
constexpr std::array kActivations = {ActivationName{"gelu", FfnActivation::kGelu, Gelu::kErf},
                                     ActivationName{"gelu_new", FfnActivation::kGelu, Gelu::kTanh},
                                     ActivationName{"gelu_pytorch_tanh", FfnActivation::kGelu, Gelu::kTanh},
                                     ActivationName{"gelu_fast", FfnActivation::kGelu, Gelu::kTanh},
                                     ActivationName{"relu", FfnActivation::kRelu, Gelu::kErf},
                                     ActivationName{"silu", FfnActivation::kSilu, Gelu::kErf},
                                     ActivationName{"swish", FfnActivation::kSilu, Gelu::kErf},
                                     ActivationName{"relu2", FfnActivation::kRelu2, Gelu::kErf}};

}  // namespace

void HfConfig::refuse(std::string_view key, std::string_view expected, const ordered_json& got) const {
  fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where_, key, expected,
       got.is_null() ? "none" : json_excerpt(got));
}

const ordered_json& HfConfig::at(const char* key) {
  asked_.emplace_back(key);
  const auto found = object_.find(key);
  return found == object_.end() ? kNull : *found;
}

template <class T>
void HfConfig::visit(const char* key, T& field, const T* usual) {
  if (writes_) return set(key, field);
  const ordered_json& value = at(key);
  if (value.is_null() && usual) {
    field = *usual;
    return;
  }
  if (!holds<T>(value)) refuse(key, kKind<T>, value);
  field = value.get<T>();
}
template void HfConfig::visit(const char*, int64_t&, const int64_t*);
template void HfConfig::visit(const char*, double&, const double*);
template void HfConfig::visit(const char*, bool&, const bool*);

void HfConfig::activation(const char* key, ModelConfig& config, std::string_view usual) {
  if (writes_) {
    for (const ActivationName& row : kActivations)
      if (row.activation == config.activation && (row.activation != FfnActivation::kGelu || row.gelu == config.gelu))
        return set(key, row.name);
    return;
  }
  const ordered_json& value = at(key);
  const std::string name = value.is_string() ? value.get<std::string>() : std::string(usual);
  for (const ActivationName& row : kActivations)
    if (row.name == name && (value.is_null() || value.is_string())) {
      config.activation = row.activation, config.gelu = row.gelu;
      return;
    }
  std::string names;
  for (const ActivationName& row : kActivations) names += (names.empty() ? "" : ", ") + std::string(row.name);
  refuse(key, "one of " + names, value);
}

void HfConfig::require(const char* key, const ordered_json& only, std::string_view missing) {
  if (writes_) return set(key, only);
  if (const ordered_json& value = at(key); !value.is_null() && value != only)
    fail(ErrorCode::kData, "{}: {}: expected {}, got {} (this decoder has no {})", where_, key,
         only.is_null() ? "none" : json_excerpt(only), json_excerpt(value), missing);
}

void HfConfig::ignore(std::initializer_list<const char*> keys) {
  for (const char* key : keys) asked_.emplace_back(key);
}

std::vector<std::string> HfConfig::unknown() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items()) {
    const bool says_nothing = value.is_null() || value == false || ((value.is_array() || value.is_object()) && value.empty());
    if (!says_nothing && std::find(asked_.begin(), asked_.end(), key) == asked_.end()) keys.push_back(key);
  }
  return keys;
}

}  // namespace troupe
