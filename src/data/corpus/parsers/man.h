// Manual pages: mandoc(1) makes HTML of them, which becomes text like any other.
#pragma once

#include <string>
#include <string_view>

namespace troupe::corpus {

// A page in man(7) or mdoc(7), with its tables and equations; "" for a stub (".so man7/other.7"). Bytes that are not
// UTF-8 are Latin-1. Throws Error(kEnvironment) without mandoc.
std::string man_page_to_text(std::string_view roff);

}  // namespace troupe::corpus
