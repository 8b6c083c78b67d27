// What Unicode says of characters: letters, case, normal form, width. utf8proc has the tables (Unicode 15); its
// mappings are completed to those of SpecialCasing.txt that hold in every language, as Python's str.lower() and
// str.upper() have them. Texts are well-formed UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe::unicode {

bool is_letter(char32_t c);  // general category L

// A capital sigma at the end of a word is another letter when small.
std::string lower(std::string_view text);
std::string upper(std::string_view text);
// The first character in title case (U+01C6 becomes U+01C5), the others in lower case.
std::string capitalized(std::string_view text);

// Normalization Form C: what can be one character is one.
std::string nfc(std::string_view text);
// Form KC: characters that differ from others by their looks alone are those, too.
std::string nfkc(std::string_view text);

// Bytes of the first extended grapheme cluster (UAX #29), what a reader takes for one character; text is not empty.
size_t first_grapheme(std::string_view text);

// How many columns of a terminal the text takes: two for most characters of East Asia, none for marks.
size_t columns(std::string_view text);

}  // namespace troupe::unicode
