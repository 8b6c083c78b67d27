// Python's operations on text, which published task definitions are written in: str.strip(), split(), lower(), ... do
// not stop at ASCII. Texts are well-formed UTF-8, counted in code points as Python does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe::python {

// str.isspace() of one character: Unicode's White_Space and U+001C to U+001F.
bool is_space(char32_t c);
// str.isalpha() of one character.
bool is_letter(char32_t c);

std::string_view rstrip(std::string_view text);
std::string_view strip(std::string_view text);
// str.split() without a separator: runs of white space separate.
std::vector<std::string> split(std::string_view text);

std::string lower(std::string_view text);
std::string upper(std::string_view text);
// The first character in title case (U+01C6 becomes U+01C5), the others in lower case.
std::string capitalize(std::string_view text);

// The characters, each as its bytes in `text`, which must outlive them.
std::vector<std::string_view> characters(std::string_view text);
std::vector<std::string_view> characters(std::string&& text) = delete;
char32_t code_point(std::string_view character);

}  // namespace troupe::python
