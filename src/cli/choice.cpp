#include "cli/choice.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/nearest.h"

namespace troupe::cli {

CLI::Option* limit_to(CLI::Option* option, const std::vector<std::string>& names) {
  const auto refusal = [names](const std::string& text) {
    if (std::find(names.begin(), names.end(), text) != names.end()) return std::string();
    return fmt::format("expected one of {}, got {} (did you mean {}?)", fmt::join(names, ", "),
                       text.empty() ? "nothing" : text, nearest(text, names));
  };
  return option->check(refusal)->type_name(fmt::format("{}", fmt::join(names, "|")));
}

}  // namespace troupe::cli
