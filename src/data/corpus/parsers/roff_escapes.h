// roff's backslash escapes (groff(7), "Escape sequences"): characters are translated, formatting is dropped.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace troupe::corpus {

using RoffStrings = std::map<std::string, std::string, std::less<>>;

// The text of one line; \*x names are looked up in `strings`. Comments (\") end it.
std::string expand_roff_escapes(std::string_view line, const RoffStrings& strings);

}  // namespace troupe::corpus
