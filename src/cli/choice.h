// Flags whose value is one of a few names: "--gelu auto|erf|tanh" in --help, completed by shells, and refused as
// "--gelu: expected one of auto, erf, tanh, got exact (did you mean erf?)".
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/enum_names.h"

namespace troupe::cli {

CLI::Option* limit_to(CLI::Option* option, const std::vector<std::string>& names);

// A flag for an enum with EnumNames; `value` must outlive the parse and is the default.
template <class Enum>
CLI::Option* add_choice(CLI::App& command, const std::string& flag, Enum& value, const std::string& help) {
  const auto set = [&value](const std::string& name) { value = enum_of_name<Enum>(name).value(); };
  CLI::Option* const option = command.add_option_function<std::string>(flag, set, help);
  return limit_to(option, names_of_enum<Enum>())->default_str(std::string(name_of_enum(value)));
}

}  // namespace troupe::cli
