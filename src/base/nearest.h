// The nearest valid name to a mistyped one, for "did you mean" hints.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe {

std::string nearest(std::string_view name, const std::vector<std::string>& valid);  // "" if valid is empty

}  // namespace troupe
