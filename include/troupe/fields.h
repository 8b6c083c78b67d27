// How a configuration struct lists its fields once:
//   template <class V> void fields(V& v) { v("num_experts", num_experts, range(0, 4096), "E, experts per MoE layer"); }
// Reading, checking, printing, checkpoints and the generated reference (docs/configuration.md) all visit that list.
// Field types: bool, int64_t, double, std::string, enums with EnumNames, std::vector<std::string>, std::vector<int64_t>,
// std::vector<double> (a list, or one number), nested structs.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

namespace troupe {

// Closed range of allowed values; for fields that are not numbers there is none.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};
constexpr Range range(double low, double high) { return {low, high}; }
constexpr Range at_least(double low) { return {low, std::numeric_limits<double>::infinity()}; }
constexpr Range any_value() { return {}; }

// In place of a range, for lists of sentences: a comma in one of them separates nothing.
struct Sentences {};

// Specialise for every enum in a configuration: its values' names as written in files.
template <class Enum>
struct EnumNames;

template <class Enum>
constexpr std::string_view name_of_enum(Enum value) {
  for (const auto& [name, candidate] : EnumNames<Enum>::values)
    if (candidate == value) return name;
  return "?";
}

}  // namespace troupe
