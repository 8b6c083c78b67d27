// Python's operations on text, which published task definitions are written in: str.strip() and split() do not stop at
// ASCII. (str.lower() and upper() are those of base/unicode.h.) Texts are well-formed UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe::python {

// str.isspace() of one character: Unicode's White_Space and U+001C to U+001F.
bool is_space(char32_t c);

std::string_view rstrip(std::string_view text);
std::string_view strip(std::string_view text);
// str.split() without a separator: runs of white space separate.
std::vector<std::string> split(std::string_view text);

}  // namespace troupe::python
