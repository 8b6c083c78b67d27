#include "kernels/cuda/switches.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace troupe::cuda {

std::string_view value_of(const Switch& one) {
  const char* const value = std::getenv(one.name);
  const std::string_view set = value ? value : "";
  if (!set.empty() && std::ranges::find(one.values, set) == one.values.end())
    fail(ErrorCode::kUsage, "{}: expected {} or {}, got {}", one.name,
         fmt::join(one.values.first(one.values.size() - 1), ", "), one.values.back(), set);
  return set;
}

void check_switches() {
  for (const Switch* const one : kSwitches) value_of(*one);
}

}  // namespace troupe::cuda
