// Manual pages: roff source with the man(7) macros, stripped to the text that a reader sees.
#pragma once

#include <string>
#include <string_view>

namespace troupe::corpus {

// Paragraphs are filled to one line each; displays (.nf, .EX, tables) keep their lines. Fonts, sizes, motions and page
// control go; macros and strings that the page defines itself are expanded, to a fixed depth. Any bytes are accepted.
// A page that only refers to another one (.so) gives "".
std::string roff_to_text(std::string_view roff);

}  // namespace troupe::corpus
