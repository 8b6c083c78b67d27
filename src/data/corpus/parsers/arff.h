// Weka's ARFF (attribute-relation file format), as far as rows that begin with a quoted string need it.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// One document per data row: its first value, a '…' or "…" string with backslash escapes. Throws Error(kData) naming
// the line for a row that does not begin with a string or whose string does not end.
void parse_arff(std::string_view bytes, const Emit& emit);

}  // namespace troupe::corpus
