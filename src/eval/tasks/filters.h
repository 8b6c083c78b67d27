// The filters of the template language (template.h): one row each in kFilters.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

using FilterArguments = std::span<const nlohmann::json>;

struct Filter {
  std::string_view name;
  int min_arguments, max_arguments;            // -1: any number
  enum Takes { kText, kScalar, kList } takes;  // kText and kScalar: applied to each element of a list
  nlohmann::json (*apply)(const nlohmann::json& value, FilterArguments arguments);  // throws kData
  std::string_view help;
};

std::span<const Filter> filters();
const Filter* find_filter(std::string_view name);  // nullptr if there is none

}  // namespace troupe
