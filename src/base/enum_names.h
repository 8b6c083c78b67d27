// Enums by their names (EnumNames in troupe/fields.h, the one place where these stand).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "troupe/fields.h"

namespace troupe {

template <class Enum>
std::optional<Enum> enum_of_name(std::string_view name) {
  for (const auto& [label, value] : EnumNames<Enum>::values)
    if (label == name) return value;
  return std::nullopt;
}

template <class Enum>
std::vector<std::string> names_of_enum() {
  std::vector<std::string> names;
  for (const auto& [label, ignored] : EnumNames<Enum>::values) names.emplace_back(label);
  return names;
}

}  // namespace troupe
