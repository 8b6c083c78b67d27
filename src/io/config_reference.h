// The reference of a configuration struct: a Markdown table per TOML table, from the fields themselves.
#pragma once

#include <string>

#include "io/fields.h"

namespace troupe {

// "## [model.moe]" and a table of key, type, default, allowed values and meaning; values are the defaults.
std::string to_markdown(const FieldList& fields);

}  // namespace troupe
