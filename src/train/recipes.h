// Recipes: values for keys of a run's configuration that belong together. A file that names one (`recipe = "modern"`)
// begins with them; what it, its base or --set gives counts more.
#pragma once

#include <string_view>

#include "troupe/fields.h"

namespace troupe {

enum class Recipe { kNone, kPaper, kModern };
template <>
struct EnumNames<Recipe> {
  static constexpr std::array<std::pair<std::string_view, Recipe>, 3> values = {
      {{"none", Recipe::kNone}, {"paper", Recipe::kPaper}, {"modern", Recipe::kModern}}};
};

// Its keys as TOML; empty for none.
std::string_view recipe_text(Recipe recipe);

}  // namespace troupe
