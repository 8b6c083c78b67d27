// COPA's own file (Roemmele et al. 2011) as records with SuperGLUE's fields: premise, choice1, choice2, question
// ("cause" or "effect"), label (0 or 1), idx.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/tasks/records.h"

namespace troupe {

// Throws kData naming file, line and field: XML that is broken, an item without one of its parts, a label that is not
// 1 or 2. No external entity or DTD is ever loaded.
std::vector<Record> parse_copa_xml(std::string_view text, const std::string& where);

}  // namespace troupe
