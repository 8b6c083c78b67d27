// How --help writes a flag, the same for every command: descriptions begin in lower case, and a default stands there
// only if it is a value that one could give (0 of a flag that takes positive numbers, or an empty list, means "not
// given", and the description says what happens then).
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace troupe::cli {

class HelpFormat : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

}  // namespace troupe::cli
